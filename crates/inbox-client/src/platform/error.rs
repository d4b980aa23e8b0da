//! What can go wrong between here and the platform.

use std::error::Error;
use std::io;
use std::time::Duration;

use crate::TokenError;

/// The HTTP client could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlatformError {
    /// TLS could not be set up.
    #[error("TLS could not be set up")]
    Tls(#[source] Box<dyn Error + Send + Sync>),
    /// The HTTP client could not be set up; a proxy in the environment that is no URL is one cause.
    #[error("the HTTP client could not be set up")]
    Client(#[source] Box<dyn Error + Send + Sync>),
}

/// A call of the platform failed. None of these holds a token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// 401: the platform does not take the token, nor a fresh one if there was one to be had.
    #[error("the platform does not take the token")]
    Unauthorized,
    /// 404 `workspace_not_found`: nobody has registered the workspace.
    #[error("the platform does not know the workspace")]
    WorkspaceNotFound,
    /// 404 `not_found`: the file is not there (any more), and nobody says why.
    #[error("the platform does not have the file")]
    NotFound,
    /// 410: the row that the cursor names is not in the feed (any more).
    #[error("the cursor is not in the feed any more")]
    CursorGone,
    /// 409 `digest_mismatch`: the digest in the ack is not the file's; nothing was acked.
    #[error("the file has another digest")]
    DigestMismatch,
    /// What the platform would send is not the file that was announced: its entity tag is another.
    #[error("the file is not the one that was announced")]
    Changed,
    /// 416: the file has no byte from there on.
    #[error("the file has no byte from there on")]
    RangeNotSatisfiable,
    /// 408, 429, or 5xx except for 507: later it may go well.
    #[error("the platform is unavailable")]
    Unavailable {
        /// How long the platform asked to be left alone (RFC 9110, section 10.2.3).
        retry_after: Option<Duration>,
    },
    /// There was no connection, or it broke before the answer began.
    #[error("the platform cannot be reached")]
    Unreachable(#[source] Box<dyn Error + Send + Sync>),
    /// The connection broke after all of an upload was handed to it, and before the answer began:
    /// nobody knows whether the platform took the files.
    #[error("the connection broke before the platform answered")]
    Unanswered(#[source] Box<dyn Error + Send + Sync>),
    /// The platform was silent for too long, or took too long for a small answer.
    #[error("the platform did not answer in time")]
    TimedOut,
    /// A file, a list or a page of the feed comes more slowly than [`SlowPeer`](crate::SlowPeer) allows.
    #[error("the platform sends too slowly")]
    TooSlow,
    /// The answer ended before its end.
    #[error("the answer broke off")]
    BrokenOff,
    /// Any other answer that is no success: another 4xx, 507, or a redirect, which is never followed.
    #[error("the platform refuses ({status}): {message}")]
    Refused {
        /// The status.
        status: u16,
        /// The code for programs, if the answer has one: `a-z 0-9 _`, at most 64 bytes.
        code: Option<String>,
        /// The sentence for a person, without control characters, at most 1,024 bytes.
        message: String,
    },
    /// The platform answered something that it must not.
    #[error("the platform's answer cannot be understood: {what}")]
    Malformed {
        /// What is wrong with it.
        what: &'static str,
    },
    /// There is no token to be had; the platform was not asked.
    #[error(transparent)]
    NoToken(#[from] TokenError),
    /// What was to be sent could not be read, or was not as long as it should have been.
    #[error("what was to be sent could not be read")]
    Unreadable(#[source] io::Error),
}

/// A [`CallError::Malformed`].
pub(super) const fn malformed(what: &'static str) -> CallError {
    CallError::Malformed { what }
}
