//! The errors that clients see: what they are, and which errors of the traits they come from.

mod cause;
mod table;

use pending_uploads_core::{Error, Filename, QuotaRefusal};

pub(crate) use cause::BrokenOff;
pub use cause::Cause;

/// Why a request was not served, as its client is told.
///
/// Its body is `{"error": "<one sentence>", "code": "<stable_snake_case>"}` and the fields of the
/// variant. A [`Cause`] is for the log alone: no client ever sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiError {
    /// An id in the path is no UUID.
    InvalidId {
        /// Which: `workspace id` or `file id`.
        what: &'static str,
    },
    /// A query parameter is not what it should be.
    InvalidQuery {
        /// Its name.
        parameter: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// The body is not JSON, or was cut off.
    InvalidJson,
    /// The body is JSON, and not an object.
    NoJsonObject,
    /// The body is JSON, and a field of it is not what it should be.
    InvalidField {
        /// The field.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// The body is no JSON-RPC 2.0 `message/send` request.
    InvalidMessage {
        /// What it should be.
        expected: &'static str,
    },
    /// The callback URL leads where this platform does not call.
    CallbackRefused,
    /// The body is not well-formed `multipart/form-data`, or was cut off.
    MalformedMultipart {
        /// What is wrong with it.
        reason: String,
    },
    /// The upload holds no file.
    NoFiles,
    /// A file of the upload has no bytes.
    EmptyFile {
        /// The file's names.
        filename: Filename,
    },
    /// The upload holds more files than one request may.
    TooManyFiles {
        /// How many it may hold.
        max: u32,
    },
    /// A file of the upload is over the cap.
    FileTooLarge {
        /// The file's names.
        filename: Filename,
        /// The cap, in bytes.
        max: u64,
    },
    /// The body is over the cap.
    RequestTooLarge {
        /// The cap, in bytes.
        max: u64,
    },
    /// There is no token, or none that opens this; which of them is not told.
    Unauthorized,
    /// The admin asked for a workspace that nobody registered, or it went away meanwhile.
    UnknownWorkspace,
    /// No such file, not this workspace's, acked, or expired; which of them is not told.
    FileNotFound,
    /// Nothing is served at this path.
    UnknownRoute,
    /// This path is not served by this method.
    MethodNotAllowed {
        /// The methods that serve it, as the `Allow` header has them.
        allow: &'static str,
    },
    /// The peer was silent for longer than the idle deadline.
    IdleTimeout,
    /// The upload was silent for so long that its bytes were swept.
    UploadAbandoned,
    /// The digest that came with an ack is not the file's.
    DigestMismatch,
    /// The cursor is not in the feed.
    CursorGone,
    /// The `If-Match` precondition does not hold.
    PreconditionFailed,
    /// No byte of the file is in the range.
    RangeNotSatisfiable {
        /// The file's length, in bytes.
        size_bytes: u64,
    },
    /// The workspace neither polls nor has a callback URL, or uploads are not staged here.
    NoCallbackUrl,
    /// Too much is waiting for the workspace.
    QuotaExceeded(QuotaRefusal),
    /// The workspace's callback URL could not be called.
    WorkspaceUnreachable(Cause),
    /// A backend is down or overloaded.
    Unavailable(Cause),
    /// The platform is not ready to serve, or is stopping.
    NotReady(Cause),
    /// Something failed that nobody foresaw.
    Internal(Cause),
}

impl ApiError {
    /// What went wrong inside, when that is not the client's doing.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Self::WorkspaceUnreachable(cause)
            | Self::Unavailable(cause)
            | Self::NotReady(cause)
            | Self::Internal(cause) => Some(cause),
            _ => None,
        }
    }

    /// The safe name of the file that the error is about, when it is about one.
    pub fn filename(&self) -> Option<&Filename> {
        match self {
            Self::EmptyFile { filename } | Self::FileTooLarge { filename, .. } => Some(filename),
            _ => None,
        }
    }
}

/// Every error of the traits has its answer; a new one that has none does not compile.
impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let cause = Cause::of(&error);
        match error {
            Error::NotFound => Self::FileNotFound,
            Error::UnknownWorkspace => Self::UnknownWorkspace,
            Error::Unauthorized => Self::Unauthorized,
            Error::CursorGone => Self::CursorGone,
            Error::RangeNotSatisfiable { size_bytes } => Self::RangeNotSatisfiable { size_bytes },
            Error::TooLarge { max_bytes } => Self::RequestTooLarge { max: max_bytes },
            Error::EmptyFile { filename } => Self::EmptyFile { filename },
            Error::QuotaExceeded(refusal) => Self::QuotaExceeded(refusal),
            Error::BatchAbandoned => Self::UploadAbandoned,
            Error::Unavailable { .. } => Self::Unavailable(cause),
            Error::BatchMisused(_) | Error::Integrity { .. } | Error::Backend { .. } => {
                Self::Internal(cause)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::ResponseError;
    use pending_uploads_core::{BatchMisuse, StoreName};

    use super::*;

    #[test]
    fn every_error_of_the_traits_has_its_status_and_code() {
        let filename = Filename::sanitize("a.txt");
        let source = || "secret".into();
        let store = StoreName("postgres");
        for (error, status, code) in [
            (Error::NotFound, 404, "not_found"),
            (Error::UnknownWorkspace, 404, "workspace_not_found"),
            (Error::Unauthorized, 401, "unauthorized"),
            (Error::CursorGone, 410, "cursor_gone"),
            (
                Error::RangeNotSatisfiable { size_bytes: 1 },
                416,
                "range_not_satisfiable",
            ),
            (Error::TooLarge { max_bytes: 1 }, 413, "request_too_large"),
            (Error::EmptyFile { filename }, 400, "empty_file"),
            (
                Error::QuotaExceeded(QuotaRefusal::WaitingFiles { max: 1 }),
                507,
                "quota_exceeded",
            ),
            (Error::BatchAbandoned, 408, "upload_abandoned"),
            (
                Error::BatchMisused(BatchMisuse::Broken),
                500,
                "internal_error",
            ),
            (Error::Integrity { what: "secret" }, 500, "internal_error"),
            (
                Error::Unavailable {
                    store,
                    source: source(),
                },
                503,
                "platform_unavailable",
            ),
            (
                Error::Backend {
                    store,
                    source: source(),
                },
                500,
                "internal_error",
            ),
        ] {
            let error = ApiError::from(error);
            assert_eq!((error.status_code().as_u16(), error.code()), (status, code));
            assert!(!error.to_string().contains("secret"));
            let ours = error.status_code().is_server_error() && code != "quota_exceeded";
            assert_eq!(error.cause().is_some(), ours, "{code}");
        }
    }
}
