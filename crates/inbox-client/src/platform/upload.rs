//! Uploads: how the form is sent, and what the platform says to it.

use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use pending_uploads_core::{FeedText, Filename, Mimetype, Sha256};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Body, RequestBuilder};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::answer::{Answer, not_reached, unanswered};
use super::deadline::after;
use super::error::{CallError, malformed};
use super::form::{Form, Pieces};
use super::waiting::{digest, filename};
use crate::Timeouts;

/// A file that the platform took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadedFile {
    /// How messages mention it: `platform-pending:<workspace>/<file>`; a workspace that takes pushes
    /// says it in its own way. Without control characters, at most 1,024 bytes.
    pub uri: String,
    /// Its names.
    pub filename: Filename,
    /// Its media type.
    pub mimetype: Mimetype,
    /// Its length, in bytes, if the platform said so.
    pub size_bytes: Option<u64>,
    /// The digest of its bytes as they arrived, if the platform said so.
    pub sha256: Option<Sha256>,
}

#[derive(Debug, Deserialize)]
struct Said {
    files: Vec<SaidFile>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SaidFile {
    uri: String,
    name: String,
    original_name: Option<String>,
    mime_type: Option<String>,
    size: Option<u64>,
    sha256: Option<String>,
}

/// Sends `form`, and reads what the platform says to it.
pub(super) async fn upload(
    request: RequestBuilder,
    form: Form,
    timeouts: &Timeouts,
) -> Result<Vec<UploadedFile>, CallError> {
    let count = form.count();
    let connected = after(Instant::now(), timeouts.connect);
    let (progress, step) = watch::channel(Step::Taken(connected));
    let mut request = request.header(CONTENT_TYPE, form.content_type());
    let length = form.length();
    if let Some(length) = length {
        request = request.header(CONTENT_LENGTH, length);
    }
    let body = Body::wrap_stream(Tracked {
        pieces: form.into_pieces(),
        left: length,
        progress,
    });
    let last = step.clone();
    let sent = tokio::select! {
        biased;
        sent = request.body(body).send() => sent,
        () = stalled(step, timeouts) => return Err(CallError::TimedOut),
    };
    let deadline = after(Instant::now(), timeouts.answer);
    let response = sent.map_err(|error| unsent(&last, error))?;
    let said: Said = Answer::judged(response, deadline)
        .await?
        .json("it says nothing of the files")
        .await?;
    if said.files.len() != count {
        return Err(malformed("it speaks of more or fewer files than were sent"));
    }
    said.files.into_iter().map(uploaded).collect()
}

fn uploaded(said: SaidFile) -> Result<UploadedFile, CallError> {
    let original = said.original_name.as_deref();
    Ok(UploadedFile {
        uri: FeedText::clean(&said.uri).as_str().to_owned(),
        filename: filename(&said.name, original).ok_or(malformed("a name is none"))?,
        mimetype: said
            .mime_type
            .map_or_else(Mimetype::absent, |value| Mimetype::parse(&value)),
        size_bytes: said.size,
        sha256: said.sha256.as_deref().and_then(digest),
    })
}

/// How far an upload is.
#[derive(Debug, Clone)]
enum Step {
    /// The network took a piece then, or is to be connected by then.
    Taken(Instant),
    /// The next piece is being read: that may take as long as it likes.
    Reading,
    /// All of it was handed to the network, then.
    Whole(Instant),
    /// The next piece could not be read.
    Failed(Arc<io::Error>),
}

/// A form on its way, which tells how far it is.
struct Tracked {
    pieces: Pieces,
    /// How many bytes are still to come, when that is known.
    left: Option<u64>,
    progress: watch::Sender<Step>,
}

impl Tracked {
    /// How far it is with `piece`. Nobody asks for what comes after the last byte of a form whose
    /// length was said, so that its end is told by counting.
    fn taken(&mut self, piece: &Bytes, now: Instant) -> Step {
        let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        self.left = self.left.map(|left| left.saturating_sub(length));
        match self.left {
            Some(0) => Step::Whole(now),
            _ => Step::Taken(now),
        }
    }
}

/// The form could not be read to its end; why stands in its [`Step`].
#[derive(Debug, thiserror::Error)]
#[error("what was to be sent could not be read")]
struct CutOff;

impl Stream for Tracked {
    type Item = Result<Bytes, CutOff>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.progress.send_replace(Step::Reading);
        let piece = ready!(self.pieces.as_mut().poll_next(cx)).transpose();
        let now = Instant::now();
        let (step, piece) = match piece {
            Ok(Some(piece)) => (self.taken(&piece, now), Some(Ok(piece))),
            Ok(None) => (Step::Whole(now), None),
            Err(error) => (Step::Failed(Arc::new(error)), Some(Err(CutOff))),
        };
        self.progress.send_replace(step);
        Poll::Ready(piece)
    }
}

/// Ends when the network has taken nothing for the idle deadline, or the platform has not begun to
/// answer in time. What the network has taken last is still under way for a while, so that the answer
/// has the idle deadline on top.
async fn stalled(mut step: watch::Receiver<Step>, timeouts: &Timeouts) {
    loop {
        let until = match &*step.borrow_and_update() {
            Step::Taken(since) => Some(after(*since, timeouts.idle)),
            Step::Whole(since) => Some(after(after(*since, timeouts.idle), timeouts.answer)),
            Step::Reading | Step::Failed(_) => None,
        };
        tokio::select! {
            biased;
            Ok(()) = step.changed() => {}
            () = wait_until(until) => return,
        }
    }
}

async fn wait_until(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => pending().await,
    }
}

/// Why there is no answer: the form could not be read, or it never went out whole, or it did, and
/// then the platform may have it.
fn unsent(step: &watch::Receiver<Step>, error: reqwest::Error) -> CallError {
    match &*step.borrow() {
        Step::Failed(error) => {
            CallError::Unreadable(io::Error::new(error.kind(), Arc::clone(error)))
        }
        Step::Whole(_) => unanswered(error),
        Step::Taken(_) | Step::Reading => not_reached(error),
    }
}
