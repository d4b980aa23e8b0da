//! `GET` and `HEAD /workspaces/{id}/pending-uploads/{file_id}/content`: a file's bytes.

use std::sync::Arc;

use actix_web::body::SizedStream;
use actix_web::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, HeaderName, IF_MATCH, IF_NONE_MATCH, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream;
use pending_uploads_core::{ByteRange, Opened, PendingUpload, Sha256, Storage};

use crate::auth::FileCaller;
use crate::conditional::{ETag, Selection, select};
use crate::disposition;
use crate::error::{ApiError, BrokenOff, Cause};
use crate::events::Site;
use crate::handover::{Begun, Handover};
use crate::platform::Platform;

/// `Repr-Digest` (RFC 9530, section 3).
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
/// No cache keeps a file: it is for one workspace, until its ack.
const NO_STORE: &str = "private, no-store";

/// Answers a waiting file or a part of it. No byte is loaded for a file that is not waiting, for one
/// that the caller has, or for a HEAD.
pub(crate) async fn fetch(
    request: HttpRequest,
    caller: FileCaller,
    platform: web::Data<Platform>,
) -> Result<HttpResponse, ApiError> {
    let begun = Begun::now();
    let storage = platform.staging().wired().ok_or(ApiError::FileNotFound)?;
    let opened = if may_want_less_than_all(&request) {
        Opened {
            upload: caller.find(&**storage).await?,
            bytes: None,
        }
    } else {
        caller.open(&**storage).await?
    };
    let upload = &opened.upload;
    if !upload.is_waiting_at(platform.clock().now()) {
        return Err(ApiError::FileNotFound);
    }
    let whole = upload
        .whole()
        .ok_or_else(|| ApiError::Internal(Cause::new("a published file has no bytes")))?;
    let etag = ETag(upload.sha256);
    match select(request.method(), request.headers(), etag, upload.size_bytes)? {
        Selection::NotModified => Ok(not_modified(etag)),
        Selection::Whole => {
            let answer = HttpResponse::Ok();
            send(answer, &request, storage, opened, whole, begun).await
        }
        Selection::Part(range) => {
            let mut answer = HttpResponse::build(StatusCode::PARTIAL_CONTENT);
            answer.insert_header((CONTENT_RANGE, content_range(range, upload.size_bytes)));
            send(answer, &request, storage, opened, range, begun).await
        }
    }
}

/// Whether the record alone may be enough: a HEAD, a range, or a condition that may not hold (RFC
/// 9110, sections 13 and 14).
fn may_want_less_than_all(request: &HttpRequest) -> bool {
    let narrowing = [RANGE, IF_MATCH, IF_NONE_MATCH];
    let headers = request.headers();
    request.method() == Method::HEAD || narrowing.iter().any(|name| headers.contains_key(name))
}

async fn send(
    mut answer: HttpResponseBuilder,
    request: &HttpRequest,
    storage: &Arc<dyn Storage>,
    opened: Opened,
    range: ByteRange,
    begun: Begun,
) -> Result<HttpResponse, ApiError> {
    describe(&mut answer, &opened.upload);
    let length = range.byte_count();
    if request.method() == Method::HEAD {
        let nothing = stream::empty::<Result<_, BrokenOff>>();
        return Ok(answer.body(SizedStream::new(length, nothing)));
    }
    let site = Site::of(request);
    let handover = Handover::begin(Arc::clone(storage), opened, range, site, begun).await?;
    Ok(answer.body(SizedStream::new(length, handover)))
}

/// The headers that a whole file and a part of it share. Nothing in a file is trusted: it is saved
/// and not shown, its type is not guessed, and a browser that shows it anyway lets it do nothing.
fn describe(answer: &mut HttpResponseBuilder, upload: &PendingUpload) {
    let filename = &upload.filename;
    answer
        .insert_header((CONTENT_TYPE, upload.mimetype.or_octet_stream()))
        .insert_header((CONTENT_DISPOSITION, disposition::attachment(filename)))
        .insert_header((ETAG, ETag(upload.sha256).to_string()))
        .insert_header((REPR_DIGEST, repr_digest(upload.sha256)))
        .insert_header((ACCEPT_RANGES, "bytes"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"))
        .insert_header((CACHE_CONTROL, NO_STORE));
}

/// A 304 repeats what a cache would need (RFC 9110, section 15.4.5).
fn not_modified(etag: ETag) -> HttpResponse {
    HttpResponse::NotModified()
        .insert_header((ETAG, etag.to_string()))
        .insert_header((CACHE_CONTROL, NO_STORE))
        .finish()
}

/// RFC 9110, section 14.4.
fn content_range(range: ByteRange, size_bytes: u64) -> String {
    format!("bytes {}-{}/{size_bytes}", range.start(), range.end() - 1)
}

/// The digest of the whole file, whatever part of it is sent (RFC 9530, section 3): a byte sequence
/// of a structured field (RFC 8941, section 3.3.5).
fn repr_digest(sha256: Sha256) -> String {
    format!("sha-256=:{}:", STANDARD.encode(sha256.as_bytes()))
}
