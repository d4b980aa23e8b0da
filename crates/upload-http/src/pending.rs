//! `GET /workspaces/{id}/pending-uploads`, the truth about what waits, and
//! `POST …/pending-uploads/{file_id}/ack`, the workspace's word that it has a file.

use std::sync::Arc;
use std::time::Instant;

use actix_web::http::header::{CACHE_CONTROL, ContentType};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream;
use pending_uploads_core::{CheckedAck, ListAfter, PendingUpload, Sha256, Storage, WorkspaceId};
use serde_json::Value;

use crate::auth::{Caller, FileCaller};
use crate::body::{Body, parse_json_object};
use crate::error::{ApiError, BrokenOff, Cause};
use crate::events::{self, Site};
use crate::platform::Platform;
use crate::wire::{self, AckAnswer, WaitingFile};

/// How many records are read, and held, at once.
const PAGE: u32 = 500;
/// The longest body of an ack, in bytes: far more than a digest needs.
const MAX_ACK_BYTES: u32 = 4 * 1024;

/// Answers every file that the workspace has still to take, oldest first.
///
/// Pages are read one after another as the answer is sent, so that its length costs no memory. The
/// first is read before the answer begins: a store that is down is still a 503.
pub(crate) async fn list(
    request: HttpRequest,
    caller: Caller,
    platform: web::Data<Platform>,
) -> Result<HttpResponse, ApiError> {
    let Some(storage) = platform.staging().wired() else {
        return Ok(wire::answer::<[WaitingFile<'_>; 0]>(&[]));
    };
    let workspace = caller.workspace.id;
    let first = storage.list(workspace, None, PAGE).await?;
    let listing = Listing {
        storage: Arc::clone(storage),
        workspace,
        site: Site::of(&request),
        started: Instant::now(),
        next: Next::Page(Place::First, first),
    };
    Ok(HttpResponse::Ok()
        .content_type(ContentType::json())
        .insert_header((CACHE_CONTROL, "no-store"))
        .streaming(listing.into_stream()))
}

/// A listing under way.
struct Listing {
    storage: Arc<dyn Storage>,
    workspace: WorkspaceId,
    site: Site,
    started: Instant,
    next: Next,
}

/// What is sent next.
enum Next {
    /// A page that has been read.
    Page(Place, Vec<PendingUpload>),
    /// The page after this record.
    After(ListAfter),
    /// Nothing.
    End,
}

/// Where a page stands in the JSON array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    First,
    Later,
}

impl Listing {
    fn into_stream(self) -> impl Stream<Item = Result<Bytes, BrokenOff>> {
        stream::try_unfold(self, async |mut listing| {
            let piece = listing.next_piece().await?;
            Ok(piece.map(|piece| (piece, listing)))
        })
    }

    async fn next_piece(&mut self) -> Result<Option<Bytes>, BrokenOff> {
        let (place, page) = match std::mem::replace(&mut self.next, Next::End) {
            Next::End => return Ok(None),
            Next::Page(place, page) => (place, page),
            Next::After(after) => (Place::Later, self.read(after).await?),
        };
        let full = page.len() >= PAGE as usize;
        if let (true, Some(last)) = (full, page.last()) {
            self.next = Next::After(last.into());
        }
        let piece = render(place, &page, &self.next);
        piece.map(Some).map_err(|error| self.break_off(&error))
    }

    async fn read(&mut self, after: ListAfter) -> Result<Vec<PendingUpload>, BrokenOff> {
        let page = self.storage.list(self.workspace, Some(after), PAGE).await;
        page.map_err(|error| self.break_off(&error.into()))
    }

    fn break_off(&self, error: &ApiError) -> BrokenOff {
        events::refused(&self.site, error, self.started.elapsed());
        BrokenOff
    }
}

/// A page as its piece of one JSON array.
fn render(place: Place, page: &[PendingUpload], next: &Next) -> Result<Bytes, ApiError> {
    let mut text = Vec::new();
    for (index, upload) in page.iter().enumerate() {
        let first = place == Place::First && index == 0;
        text.push(if first { b'[' } else { b',' });
        serde_json::to_writer(&mut text, &WaitingFile::from(upload))
            .map_err(|error| ApiError::Internal(Cause::of(&error)))?;
    }
    if place == Place::First && page.is_empty() {
        text.push(b'[');
    }
    if matches!(next, Next::End) {
        text.push(b']');
    }
    Ok(text.into())
}

/// Takes the workspace's word that it has the file. With the digest of what it has, the word is
/// checked first.
pub(crate) async fn ack(
    caller: FileCaller,
    platform: web::Data<Platform>,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let started = Instant::now();
    let claimed = claimed_digest(&body.read(MAX_ACK_BYTES).await?)?;
    let storage = platform.staging().wired().ok_or(ApiError::FileNotFound)?;
    let (workspace, file) = (caller.workspace, caller.file);
    let raced = match storage.ack_checked(workspace, file, claimed).await? {
        CheckedAck::First(upload) => {
            caller.check(&upload)?;
            events::acked(&upload, started.elapsed());
            None
        }
        CheckedAck::Again { .. } => None,
        CheckedAck::Mismatch => return Err(ApiError::DigestMismatch),
        CheckedAck::Vanished => Some(true),
    };
    Ok(wire::answer(&AckAnswer { acked: true, raced }))
}

/// The digest in an ack's body. No body, and one without a digest, claim none.
fn claimed_digest(body: &[u8]) -> Result<Option<Sha256>, ApiError> {
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    match parse_json_object(body)?.get("sha256") {
        None | Some(Value::Null) => Ok(None),
        Some(digest) => {
            let digest = digest.as_str().and_then(|text| text.parse().ok());
            digest.map(Some).ok_or(ApiError::InvalidField {
                field: "sha256",
                expected: "64 hexadecimal digits",
            })
        }
    }
}
