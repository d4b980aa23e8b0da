//! The JSON of answers. Domain records are not serialized as they are: what goes on the wire is
//! written down here.

use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use pending_uploads_core::{Activity, FeedText, PendingUpload};
use serde::Serialize;
use serde_json::Value;

/// The answer to an upload.
#[derive(Debug, Serialize)]
pub(crate) struct Uploaded {
    files: Vec<UploadedFile>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct UploadedFile {
    uri: String,
    name: String,
    original_name: String,
    mime_type: String,
    size: u64,
    sha256: String,
}

impl Uploaded {
    /// The answer that names `uploads` in their order.
    pub(crate) fn new(uploads: &[PendingUpload]) -> Self {
        Self {
            files: uploads.iter().map(UploadedFile::from).collect(),
        }
    }
}

impl From<&PendingUpload> for UploadedFile {
    fn from(upload: &PendingUpload) -> Self {
        Self {
            uri: upload.uri().to_string(),
            name: upload.filename.as_str().to_owned(),
            original_name: upload.filename.original().to_owned(),
            mime_type: upload.mimetype.as_str().to_owned(),
            size: upload.size_bytes,
            sha256: upload.sha256.to_string(),
        }
    }
}

/// A waiting file, as a workspace that lost its cursor sees it: the same words as in the file's
/// feed row, and its times.
#[derive(Debug, Serialize)]
pub(crate) struct WaitingFile<'a> {
    file_id: String,
    name: &'a str,
    #[serde(rename = "mimeType")]
    mime_type: &'a str,
    size: u64,
    uri: String,
    #[serde(rename = "originalName")]
    original_name: &'a str,
    sha256: String,
    created_at: String,
    expires_at: String,
    fetched_at: Option<String>,
}

impl<'a> From<&'a PendingUpload> for WaitingFile<'a> {
    fn from(upload: &'a PendingUpload) -> Self {
        Self {
            file_id: upload.file_id.to_string(),
            name: upload.filename.as_str(),
            mime_type: upload.mimetype.as_str(),
            size: upload.size_bytes,
            uri: upload.uri().to_string(),
            original_name: upload.filename.original(),
            sha256: upload.sha256.to_string(),
            created_at: upload.created_at.to_string(),
            expires_at: upload.expires_at.to_string(),
            fetched_at: upload.fetched_at.map(|time| time.to_string()),
        }
    }
}

/// A row of a feed.
#[derive(Debug, Serialize)]
pub(crate) struct FeedRow<'a> {
    id: String,
    workspace_id: String,
    activity_type: &'a str,
    source_id: Option<String>,
    target_id: Option<String>,
    method: Option<&'a str>,
    summary: Option<&'a str>,
    request_body: Option<&'a Value>,
    response_body: Option<&'a Value>,
    duration_ms: Option<i64>,
    status: &'static str,
    error_detail: Option<&'a str>,
    created_at: String,
    seq: i64,
}

impl<'a> From<&'a Activity> for FeedRow<'a> {
    fn from(row: &'a Activity) -> Self {
        let content = &row.content;
        Self {
            id: row.id.to_string(),
            workspace_id: row.workspace_id.to_string(),
            activity_type: content.activity_type.as_str(),
            source_id: content.source_id.map(|id| id.to_string()),
            target_id: content.target_id.map(|id| id.to_string()),
            method: content.method.as_ref().map(FeedText::as_str),
            summary: content.summary.as_ref().map(FeedText::as_str),
            request_body: content.request_body.as_ref(),
            response_body: content.response_body.as_ref(),
            duration_ms: content.duration_ms,
            status: content.status.as_str(),
            error_detail: content.error_detail.as_ref().map(FeedText::as_str),
            created_at: row.created_at.to_string(),
            seq: row.seq.0,
        }
    }
}

/// The answer to a registration.
#[derive(Debug, Serialize)]
pub(crate) struct RegisteredAnswer<'a> {
    pub(crate) status: &'static str,
    pub(crate) delivery_mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) auth_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) platform_inbound_secret: Option<&'a str>,
}

/// The answer to a message that waits in a feed.
#[derive(Debug, Serialize)]
pub(crate) struct Queued {
    pub(crate) status: &'static str,
    pub(crate) delivery_mode: &'static str,
    pub(crate) method: &'static str,
}

/// The answer to an ack.
#[derive(Debug, Serialize)]
pub(crate) struct AckAnswer {
    pub(crate) acked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) raced: Option<bool>,
}

/// The limits of an upload.
#[derive(Debug, Serialize)]
pub(crate) struct LimitsAnswer {
    pub(crate) per_file_bytes: u64,
    pub(crate) per_request_bytes: u64,
    pub(crate) max_attachments_per_message: u32,
}

/// A 200 with `body` as JSON, which no cache keeps: nearly every answer is for one caller only.
pub(crate) fn answer<T: Serialize>(body: &T) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(body)
}
