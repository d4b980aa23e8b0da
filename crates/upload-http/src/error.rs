//! The errors that clients see: one table of status, code, sentence and fields.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_RANGE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use actix_web::{HttpResponse, ResponseError};
use pending_uploads_core::{Error, Filename, QuotaRefusal};
use serde_json::{Map, Value};

/// How soon a client that got a 503 may come again, in seconds.
const RETRY_AFTER_SECS: u32 = 2;
const CURSOR_GONE: &str = "the row that since_id names is not in this workspace's feed: take the \
    newest row as the cursor, then list pending-uploads for the files that are waiting";
/// In this order: a file that is published between the two steps is in the list.
const RECOVER: &str = "GET activity without since_id and keep the id of its first row as the cursor, \
    then GET pending-uploads for every file that is still waiting";

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

/// What went wrong inside, with its own causes: for the log, never for clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause(String);

impl Cause {
    /// A cause that is told by one sentence.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }

    /// `error` and all its causes, in one line.
    pub fn of(error: &dyn StdError) -> Self {
        let mut report = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            report.push_str(": ");
            report.push_str(&error.to_string());
            cause = error.source();
        }
        Self(report)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An answer that had begun cannot be finished; the connection is closed, so that nobody takes it
/// for whole. Why is in the log already.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the answer broke off")]
pub(crate) struct BrokenOff;

/// A row of the table.
struct Row {
    status: StatusCode,
    code: &'static str,
    sentence: Cow<'static, str>,
    fields: Vec<(&'static str, Value)>,
}

impl Row {
    fn new(status: StatusCode, code: &'static str, sentence: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            code,
            sentence: sentence.into(),
            fields: Vec::new(),
        }
    }

    fn with(mut self, field: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push((field, value.into()));
        self
    }
}

impl ApiError {
    /// The stable word for the error, as it stands in the body, in logs and in metrics.
    pub fn code(&self) -> &'static str {
        self.row().code
    }

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

    #[expect(
        clippy::too_many_lines,
        reason = "one table, with a row for each error"
    )]
    fn row(&self) -> Row {
        use StatusCode as S;
        match self {
            Self::InvalidId { what } => Row::new(
                S::BAD_REQUEST,
                "invalid_id",
                format!("the {what} in the path is not a UUID"),
            ),
            Self::InvalidQuery {
                parameter,
                expected,
            } => Row::new(
                S::BAD_REQUEST,
                "invalid_query",
                format!("the query parameter {parameter} must be {expected}"),
            )
            .with("parameter", *parameter),
            Self::InvalidJson => Row::new(
                S::BAD_REQUEST,
                "invalid_json",
                "the body is not a complete JSON document",
            ),
            Self::InvalidField { field, expected } => Row::new(
                S::BAD_REQUEST,
                "invalid_field",
                format!("the field {field} must be {expected}"),
            )
            .with("field", *field),
            Self::InvalidMessage { expected } => Row::new(
                S::BAD_REQUEST,
                "invalid_message",
                format!("a JSON-RPC 2.0 message/send request is expected: {expected}"),
            ),
            Self::CallbackRefused => Row::new(
                S::BAD_REQUEST,
                "callback_refused",
                "the url leads to an address that this platform does not call",
            )
            .with("field", "url"),
            Self::MalformedMultipart { reason } => Row::new(
                S::BAD_REQUEST,
                "malformed_multipart",
                format!("the body is not complete, well-formed multipart/form-data: {reason}"),
            ),
            Self::NoFiles => Row::new(
                S::BAD_REQUEST,
                "no_files",
                "the upload holds no part named files",
            ),
            Self::EmptyFile { filename } => Row::new(
                S::BAD_REQUEST,
                "empty_file",
                format!("the file {filename} is empty"),
            )
            .with("filename", filename.as_str()),
            Self::TooManyFiles { max } => Row::new(
                S::BAD_REQUEST,
                "too_many_files",
                format!("an upload may hold at most {max} files"),
            )
            .with("max", *max),
            Self::FileTooLarge { filename, max } => Row::new(
                S::PAYLOAD_TOO_LARGE,
                "file_too_large",
                format!("the file {filename} is over the limit of {max} bytes"),
            )
            .with("filename", filename.as_str())
            .with("max", *max),
            Self::RequestTooLarge { max } => Row::new(
                S::PAYLOAD_TOO_LARGE,
                "request_too_large",
                format!("the request body is over the limit of {max} bytes"),
            )
            .with("max", *max),
            Self::Unauthorized => Row::new(
                S::UNAUTHORIZED,
                "unauthorized",
                "a bearer token that opens this workspace is required",
            ),
            Self::UnknownWorkspace => Row::new(
                S::NOT_FOUND,
                "workspace_not_found",
                "there is no such workspace",
            ),
            Self::FileNotFound => Row::new(
                S::NOT_FOUND,
                "not_found",
                "there is no such file for this workspace, or it is not waiting any more",
            ),
            Self::UnknownRoute => Row::new(
                S::NOT_FOUND,
                "route_not_found",
                "nothing is served at this path",
            ),
            Self::MethodNotAllowed { allow } => Row::new(
                S::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                format!("this path is served by {allow} only"),
            ),
            Self::IdleTimeout => Row::new(
                S::REQUEST_TIMEOUT,
                "idle_timeout",
                "the request body stopped arriving",
            ),
            Self::UploadAbandoned => Row::new(
                S::REQUEST_TIMEOUT,
                "upload_abandoned",
                "the upload was silent for too long and was discarded",
            ),
            Self::DigestMismatch => Row::new(
                S::CONFLICT,
                "digest_mismatch",
                "the sha256 is not the file's: nothing was acked, fetch the file again",
            ),
            Self::CursorGone => {
                Row::new(S::GONE, "cursor_gone", CURSOR_GONE).with("recover", RECOVER)
            }
            Self::PreconditionFailed => Row::new(
                S::PRECONDITION_FAILED,
                "precondition_failed",
                "the file is not the one that If-Match names",
            ),
            Self::RangeNotSatisfiable { size_bytes } => Row::new(
                S::RANGE_NOT_SATISFIABLE,
                "range_not_satisfiable",
                format!("no byte of the file's {size_bytes} is in the range"),
            ),
            Self::NoCallbackUrl => Row::new(
                S::UNPROCESSABLE_ENTITY,
                "no_callback_url",
                "workspace has no callback URL that this could be delivered to",
            ),
            Self::QuotaExceeded(refusal) => quota_row(*refusal),
            Self::WorkspaceUnreachable(_) => Row::new(
                S::BAD_GATEWAY,
                "workspace_unreachable",
                "the workspace could not be reached at its callback URL",
            ),
            Self::Unavailable(_) => Row::new(
                S::SERVICE_UNAVAILABLE,
                "platform_unavailable",
                "the platform is unavailable at the moment, try again soon",
            ),
            Self::NotReady(_) => Row::new(
                S::SERVICE_UNAVAILABLE,
                "not_ready",
                "the platform is not ready to serve",
            ),
            Self::Internal(_) => Row::new(
                S::INTERNAL_SERVER_ERROR,
                "internal_error",
                "the platform failed to serve this request",
            ),
        }
    }

    /// The headers that belong to the error, beside those that every error has.
    fn headers(&self) -> Option<(HeaderName, Cow<'static, str>)> {
        match self {
            Self::Unauthorized => Some((WWW_AUTHENTICATE, "Bearer".into())),
            Self::MethodNotAllowed { allow } => Some((ALLOW, (*allow).into())),
            Self::RangeNotSatisfiable { size_bytes } => {
                Some((CONTENT_RANGE, format!("bytes */{size_bytes}").into()))
            }
            Self::Unavailable(_) | Self::NotReady(_) => {
                Some((RETRY_AFTER, RETRY_AFTER_SECS.to_string().into()))
            }
            _ => None,
        }
    }
}

fn quota_row(refusal: QuotaRefusal) -> Row {
    let (limit, max) = match refusal {
        QuotaRefusal::WaitingBytes { max } => ("waiting_bytes", max),
        QuotaRefusal::WaitingFiles { max } => ("waiting_files", u64::from(max)),
    };
    let status = StatusCode::INSUFFICIENT_STORAGE;
    Row::new(status, "quota_exceeded", refusal.to_string())
        .with("limit", limit)
        .with("max", max)
}

/// Prints the sentence that the client is told.
impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.row().sentence)
    }
}

impl StdError for ApiError {}

/// Renders the error as JSON. It is logged where it was handled, not here.
impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.row().status
    }

    fn error_response(&self) -> HttpResponse {
        let row = self.row();
        let mut body = Map::new();
        body.insert("error".to_owned(), row.sentence.into());
        body.insert("code".to_owned(), row.code.into());
        for (field, value) in row.fields {
            body.insert(field.to_owned(), value);
        }
        let mut response = HttpResponse::build(row.status);
        response.insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")));
        if let Some((name, value)) = self.headers() {
            response.insert_header((name, value.into_owned()));
        }
        response.json(body)
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

    #[test]
    fn a_quota_that_refuses_says_which_half_and_how_much() {
        for (refusal, limit) in [
            (QuotaRefusal::WaitingBytes { max: 7 }, "waiting_bytes"),
            (QuotaRefusal::WaitingFiles { max: 7 }, "waiting_files"),
        ] {
            let row = ApiError::QuotaExceeded(refusal).row();
            assert_eq!(row.fields, [("limit", limit.into()), ("max", 7.into())]);
        }
    }

    #[test]
    fn a_cause_tells_of_all_its_causes() {
        let error = Error::Unavailable {
            store: StoreName("postgres"),
            source: "connection refused".into(),
        };
        assert_eq!(
            Cause::of(&error).to_string(),
            "postgres is unavailable: connection refused"
        );
    }
}
