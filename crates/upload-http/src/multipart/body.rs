//! The body of a request as it arrives: counted, and never waited for longer than the idle timeout.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::framing::FramingError;
use crate::idle::IdleDeadline;
use actix_web::error::PayloadError;
use bytes::Bytes;
use futures_core::Stream;
use futures_core::stream::LocalBoxStream;

/// What a body may be and how slowly it may come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimits {
    /// The most bytes.
    pub(crate) max_bytes: u64,
    /// How long nothing at all may arrive.
    pub(crate) idle_timeout: Duration,
}

/// Why a body was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    /// It is longer than it may be.
    #[error("the body is over {max_bytes} bytes")]
    TooLarge {
        /// The most bytes that it may have.
        max_bytes: u64,
    },
    /// Nothing arrived for the idle timeout.
    #[error("nothing arrived for too long")]
    Idle,
    /// The client went away, closed its half of the connection too early, or broke the chunked
    /// coding: actix-http tells none from the others.
    #[error("the body ended too early, or its transfer coding is broken")]
    CutOff,
    /// It is not what multipart/form-data is.
    #[error("{0}")]
    Malformed(Malformed),
}

/// Why a body is not multipart/form-data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// The transfer coding of the request is broken.
    #[error("its transfer coding is broken")]
    Transfer,
    /// The request's `Content-Type` is another.
    #[error("its Content-Type is not multipart/form-data with a boundary")]
    ContentType,
    /// A boundary is missing, or something follows it that must not.
    #[error("a boundary is missing or broken")]
    Boundary,
    /// It ends before its last boundary.
    #[error("it ends before its last boundary")]
    Truncated,
    /// A part's headers cannot be read.
    #[error("the headers of a part cannot be read")]
    Headers,
    /// A part has no `Content-Disposition: form-data` with a name.
    #[error("a part has no Content-Disposition: form-data with a name")]
    Disposition,
    /// It has more parts than anybody needs.
    #[error("it has more than {max} parts")]
    TooManyParts {
        /// The most parts.
        max: u32,
    },
    /// A part's length is in doubt.
    #[error("{0}")]
    Framing(FramingError),
    /// The parser and the framing do not agree where a part ends.
    #[error("it is in doubt where a part ends")]
    Ambiguous,
    /// The parser refused it for another reason.
    #[error("it cannot be read")]
    Unreadable,
}

/// A request's payload that ends with an error when it is too long, too slow or cut off. Nothing
/// comes after the error or the end.
pub(crate) struct GuardedBody {
    /// None once it is over.
    payload: Option<LocalBoxStream<'static, Result<Bytes, PayloadError>>>,
    max_bytes: u64,
    received: u64,
    deadline: IdleDeadline,
}

impl GuardedBody {
    /// Guards `payload`.
    pub(crate) fn new(
        payload: impl Stream<Item = Result<Bytes, PayloadError>> + 'static,
        limits: BodyLimits,
    ) -> Self {
        Self {
            payload: Some(Box::pin(payload)),
            max_bytes: limits.max_bytes,
            received: 0,
            deadline: IdleDeadline::new(limits.idle_timeout),
        }
    }

    fn end(&mut self, error: BodyError) -> Poll<Option<Result<Bytes, BodyError>>> {
        self.payload = None;
        Poll::Ready(Some(Err(error)))
    }

    fn receive(&mut self, piece: Bytes) -> Poll<Option<Result<Bytes, BodyError>>> {
        self.deadline.heard();
        self.received += piece.len() as u64;
        let max_bytes = self.max_bytes;
        if self.received > max_bytes {
            return self.end(BodyError::TooLarge { max_bytes });
        }
        Poll::Ready(Some(Ok(piece)))
    }
}

impl Stream for GuardedBody {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(payload) = &mut self.payload else {
            return Poll::Ready(None);
        };
        match payload.as_mut().poll_next(cx) {
            Poll::Ready(Some(Ok(piece))) => self.receive(piece),
            Poll::Ready(Some(Err(error))) => self.end(error.into()),
            Poll::Ready(None) => {
                self.payload = None;
                Poll::Ready(None)
            }
            Poll::Pending => {
                ready!(self.deadline.poll_silence(cx));
                self.end(BodyError::Idle)
            }
        }
    }
}

impl From<PayloadError> for BodyError {
    fn from(error: PayloadError) -> Self {
        match error {
            PayloadError::EncodingCorrupted => Self::Malformed(Malformed::Transfer),
            _ => Self::CutOff,
        }
    }
}

impl From<FramingError> for BodyError {
    fn from(error: FramingError) -> Self {
        Self::Malformed(Malformed::Framing(error))
    }
}

impl From<Malformed> for BodyError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};
    use tokio::time::{Instant, sleep};

    use super::*;

    const LIMITS: BodyLimits = BodyLimits {
        max_bytes: 8,
        idle_timeout: Duration::from_mins(1),
    };

    fn pieces(sizes: &[usize]) -> Vec<Result<Bytes, PayloadError>> {
        sizes
            .iter()
            .map(|&size| Ok(vec![b'x'; size].into()))
            .collect()
    }

    #[tokio::test]
    async fn a_body_of_exactly_the_cap_passes_and_one_byte_more_does_not() {
        let exact: Vec<_> = GuardedBody::new(stream::iter(pieces(&[3, 5])), LIMITS)
            .collect()
            .await;
        assert!(exact.iter().all(Result::is_ok));
        let over: Vec<_> = GuardedBody::new(stream::iter(pieces(&[3, 6, 1])), LIMITS)
            .collect()
            .await;
        assert_eq!(over.len(), 2, "nothing comes after the error");
        assert_eq!(over[1], Err(BodyError::TooLarge { max_bytes: 8 }));
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_is_for_each_read_and_not_for_the_body() {
        let slow = stream::iter(pieces(&[1, 1, 1])).then(async |piece| {
            sleep(Duration::from_secs(50)).await;
            piece
        });
        let started = Instant::now();
        let all: Vec<_> = GuardedBody::new(slow, LIMITS).collect().await;
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(started.elapsed(), Duration::from_secs(150));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_the_body_after_the_idle_timeout() {
        let silent = stream::iter(pieces(&[1])).chain(stream::pending());
        let started = Instant::now();
        let all: Vec<_> = GuardedBody::new(silent, LIMITS).collect().await;
        assert_eq!(all[1], Err(BodyError::Idle));
        assert_eq!(started.elapsed(), LIMITS.idle_timeout);
    }

    #[tokio::test]
    async fn a_client_that_went_away_is_told_from_a_broken_coding() {
        for (error, expected) in [
            (PayloadError::Incomplete(None), BodyError::CutOff),
            (PayloadError::EncodingCorrupted, Malformed::Transfer.into()),
        ] {
            let mut body = GuardedBody::new(stream::iter([Err(error)]), LIMITS);
            assert_eq!(body.next().await, Some(Err(expected)));
            assert_eq!(body.next().await, None);
        }
    }
}
