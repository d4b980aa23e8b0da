//! The one table of errors: status, code, sentence and fields of each.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_RANGE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use actix_web::{HttpResponse, ResponseError};
use pending_uploads_core::QuotaRefusal;
use serde::Serialize;
use serde_json::Value;

use super::ApiError;

/// How soon a client that got a 503 may come again, in seconds.
const RETRY_AFTER_SECS: u32 = 2;
const CURSOR_GONE: &str = "the row that since_id names is not in this workspace's feed: begin again \
    with the nil UUID as since_id, and list pending-uploads for the files that are waiting";
/// Files whose rows were pruned are in the list, and whatever comes after it is in the feed.
const RECOVER: &str = "GET activity with since_id=00000000-0000-0000-0000-000000000000 and go on from \
    there, and GET pending-uploads for every file that is still waiting";

/// A row of the table; serialized, the body of an answer.
#[derive(Serialize)]
struct Row {
    #[serde(skip)]
    status: StatusCode,
    #[serde(rename = "error")]
    sentence: Cow<'static, str>,
    code: &'static str,
    #[serde(flatten)]
    fields: BTreeMap<&'static str, Value>,
}

impl Row {
    fn new(status: StatusCode, code: &'static str, sentence: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            code,
            sentence: sentence.into(),
            fields: BTreeMap::new(),
        }
    }

    fn with(mut self, field: &'static str, value: impl Into<Value>) -> Self {
        self.fields.insert(field, value.into());
        self
    }
}

impl ApiError {
    /// The stable word for the error, as it stands in the body, in logs and in metrics.
    pub fn code(&self) -> &'static str {
        self.row().code
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
            Self::NoJsonObject => Row::new(
                S::BAD_REQUEST,
                "invalid_json",
                "the body is not a JSON object",
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
                format!("none of the file's {size_bytes} bytes is in the range"),
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
        let mut response = HttpResponse::build(row.status);
        response.insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")));
        if let Some((name, value)) = self.headers() {
            response.insert_header((name, value.into_owned()));
        }
        response.json(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_that_refuses_says_which_half_and_how_much() {
        for (refusal, limit) in [
            (QuotaRefusal::WaitingBytes { max: 7 }, "waiting_bytes"),
            (QuotaRefusal::WaitingFiles { max: 7 }, "waiting_files"),
        ] {
            let row = ApiError::QuotaExceeded(refusal).row();
            let fields = [("limit", limit.into()), ("max", 7.into())];
            assert_eq!(row.fields, BTreeMap::from(fields));
        }
    }
}
