//! Answers: what their status means, and how the small ones are read.

use std::time::{Duration, SystemTime};

use log::debug;
use pending_uploads_core::FeedText;
use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::deadline::after;
use super::error::{CallError, malformed};
use super::meter::Meter;
use crate::{Timeouts, retry};

/// The largest list, in bytes.
const LIST_BYTES: usize = 64 * 1024 * 1024;
/// The largest answer that is no list, in bytes.
const SMALL_BYTES: usize = 64 * 1024;
/// The longest code of an error, in bytes.
const MAX_CODE_BYTES: usize = 64;

/// An answer that is a success, and until when it must have come whole, should it be a small one.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: Response,
    deadline: Instant,
}

#[derive(Debug, Deserialize)]
struct ErrorBody {
    code: Option<String>,
    error: Option<String>,
}

impl Answer {
    /// Sends `request`, and waits for the head of its answer, for at most `patience`.
    pub(super) async fn to(request: RequestBuilder, patience: Duration) -> Result<Self, CallError> {
        let deadline = after(Instant::now(), patience);
        let sent = timeout_at(deadline, request.send()).await;
        let response = sent
            .map_err(|_| CallError::TimedOut)?
            .map_err(not_reached)?;
        Self::judged(response, deadline).await
    }

    /// Takes `response` if it is a success.
    pub(super) async fn judged(response: Response, deadline: Instant) -> Result<Self, CallError> {
        let status = response.status();
        if status.is_success() {
            return Ok(Self { response, deadline });
        }
        Err(refusal(status, response, deadline).await)
    }

    /// The whole body, which may be long, and take long as long as it goes on.
    pub(super) async fn list(mut self, timeouts: &Timeouts) -> Result<Vec<u8>, CallError> {
        // A poll may have its head at once and wait then, so that the first piece has the head's time.
        let begun = self.deadline.max(after(Instant::now(), timeouts.idle));
        let first = timeout_at(begun, self.response.chunk()).await;
        let mut next = first
            .map_err(|_| CallError::TimedOut)?
            .map_err(broken_off)?;
        let (mut body, mut meter) = (Vec::new(), Meter::new(timeouts));
        while let Some(piece) = next {
            append(&mut body, &piece, LIST_BYTES)?;
            next = meter.piece(&mut self.response).await?;
        }
        Ok(body)
    }

    /// The whole body, which is small.
    async fn small(self) -> Result<Vec<u8>, CallError> {
        timeout_at(self.deadline, read_small(self.response))
            .await
            .map_err(|_| CallError::TimedOut)?
    }

    /// The whole body, which is a small JSON document.
    pub(super) async fn json<T: DeserializeOwned>(
        self,
        what: &'static str,
    ) -> Result<T, CallError> {
        let body = self.small().await?;
        serde_json::from_slice(&body).map_err(|_| malformed(what))
    }
}

/// There is no answer.
pub(super) fn not_reached(error: reqwest::Error) -> CallError {
    CallError::Unreachable(error.without_url().into())
}

/// There is no answer to what went out whole.
pub(super) fn unanswered(error: reqwest::Error) -> CallError {
    CallError::Unanswered(error.without_url().into())
}

async fn read_small(mut response: Response) -> Result<Vec<u8>, CallError> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(broken_off)? {
        append(&mut body, &piece, SMALL_BYTES)?;
    }
    Ok(body)
}

/// Adds a piece to a body that has at most `cap` bytes.
fn append(body: &mut Vec<u8>, piece: &[u8], cap: usize) -> Result<(), CallError> {
    if piece.len() > cap - body.len() {
        return Err(malformed("it is too large"));
    }
    body.extend_from_slice(piece);
    Ok(())
}

/// An answer did not come to its end.
pub(super) fn broken_off(error: reqwest::Error) -> CallError {
    let error = error.without_url();
    debug!(error:? = error; "an answer broke off");
    CallError::BrokenOff
}

/// What an answer that is no success means.
async fn refusal(status: StatusCode, response: Response, deadline: Instant) -> CallError {
    match status.as_u16() {
        401 => CallError::Unauthorized,
        410 => CallError::CursorGone,
        416 => CallError::RangeNotSatisfiable,
        408 | 429 | 500..=506 | 508.. => CallError::Unavailable {
            retry_after: retry_after(response.headers()),
        },
        400..=499 | 507 => {
            let answer = Answer { response, deadline };
            answer
                .small()
                .await
                .map_or_else(|error| unread(status, error), |body| refused(status, &body))
        }
        _ => refused(status, b""),
    }
}

/// A body that is too large says as little as none; one that did not come might have said more.
fn unread(status: StatusCode, error: CallError) -> CallError {
    match error {
        CallError::Malformed { .. } => refused(status, b""),
        error => error,
    }
}

fn refused(status: StatusCode, body: &[u8]) -> CallError {
    let parsed: Option<ErrorBody> = serde_json::from_slice(body).ok();
    let (code, message) = parsed.map_or((None, None), |body| (body.code, body.error));
    let code = code.filter(|code| is_code(code));
    match (status.as_u16(), code.as_deref()) {
        (404, Some("not_found")) => CallError::NotFound,
        (404, Some("workspace_not_found")) => CallError::WorkspaceNotFound,
        (409, Some("digest_mismatch")) => CallError::DigestMismatch,
        (number, _) => CallError::Refused {
            status: number,
            code,
            message: message.map_or_else(|| reason(status), |text| clean(&text)),
        },
    }
}

fn is_code(code: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    (1..=MAX_CODE_BYTES).contains(&code.len()) && code.bytes().all(allowed)
}

fn clean(text: &str) -> String {
    FeedText::clean(text).as_str().to_owned()
}

fn reason(status: StatusCode) -> String {
    status
        .canonical_reason()
        .unwrap_or("no reason was given")
        .to_owned()
}

/// How long the sender of `headers` asks to be left alone.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let date = text_of(headers, DATE);
    retry::retry_after(text_of(headers, RETRY_AFTER)?, date, SystemTime::now())
}

/// The value of a header that is text.
pub(super) fn text_of(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}
