//! `POST /workspaces/{id}/chat/uploads`: files for a workspace, staged until it asks for them, or
//! sent on to it.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::header::{CONTENT_LENGTH, HeaderMap};
use actix_web::{HttpRequest, HttpResponse, web};
use pending_uploads_core::{Batch, Delivery, Limits, PendingUpload, Storage, WorkspaceId};
use tokio::time::timeout;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::events::{self, InFlight};
use crate::forward::Callback;
use crate::multipart::{BodyError, BodyLimits, FilePart, Form, GuardedBody};
use crate::platform::{Platform, Settings, Staging};
use crate::wire::{self, Uploaded};

/// Takes an upload for the workspace.
pub(crate) async fn upload(
    caller: Caller,
    platform: web::Data<Platform>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let _under_way = InFlight::upload();
    check_announced_length(request.headers(), &platform.settings().limits)?;
    match &caller.workspace.delivery {
        Delivery::Poll => stage(&platform, caller.workspace.id, &request, payload).await,
        Delivery::Push { url, secret } => {
            let body = GuardedBody::new(payload, body_limits(platform.settings()));
            let callback = Callback { url, secret };
            platform.forwarder().upload(callback, &request, body).await
        }
        Delivery::Unreachable => Err(ApiError::NoCallbackUrl),
    }
}

/// Refuses a body that says itself that it is over the request cap, before any of it is read.
pub(crate) fn check_announced_length(headers: &HeaderMap, limits: &Limits) -> Result<(), ApiError> {
    let max = limits.per_request_bytes();
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > max) {
        return Err(ApiError::RequestTooLarge { max });
    }
    Ok(())
}

fn body_limits(settings: &Settings) -> BodyLimits {
    BodyLimits {
        max_bytes: settings.limits.per_request_bytes(),
        idle_timeout: settings.idle_timeout,
    }
}

async fn stage(
    platform: &Platform,
    workspace: WorkspaceId,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let started = Instant::now();
    let Staging::Wired(storage) = platform.staging() else {
        return Err(ApiError::NoCallbackUrl);
    };
    let settings = platform.settings();
    let form = Form::open(request, payload, body_limits(settings))?;
    let uploads = stage_form(storage, workspace, form, settings).await?;
    for upload in &uploads {
        events::staged(upload, started.elapsed());
    }
    Ok(wire::answer(&Uploaded::new(&uploads)))
}

/// Stages every file of the form, then publishes them together. On any way out but the last, the
/// batch is dropped, and nothing is left of it.
async fn stage_form(
    storage: &Arc<dyn Storage>,
    workspace: WorkspaceId,
    mut form: Form,
    settings: &Settings,
) -> Result<Vec<PendingUpload>, ApiError> {
    let limits = settings.limits;
    let mut batch = storage.begin(workspace).await?;
    let mut files = 0;
    while let Some(file) = next_file(&mut form, &mut *batch, settings.idle_timeout).await? {
        files += 1;
        if files > limits.max_files() {
            let max = limits.max_files();
            return Err(ApiError::TooManyFiles { max });
        }
        stage_file(&mut *batch, file, limits.per_file_bytes()).await?;
    }
    if files == 0 {
        return Err(ApiError::NoFiles);
    }
    Ok(batch.publish().await?)
}

/// Reads on to the next file. What comes before it may take for ever without being silent, and is
/// nothing to the batch, which shows that it is alive as often as a body must.
async fn next_file(
    form: &mut Form,
    batch: &mut dyn Batch,
    idle_timeout: Duration,
) -> Result<Option<FilePart>, ApiError> {
    let mut next = pin!(form.next());
    loop {
        if let Ok(found) = timeout(idle_timeout, &mut next).await {
            return Ok(found?);
        }
        batch.show_life().await?;
    }
}

async fn stage_file(batch: &mut dyn Batch, mut file: FilePart, max: u64) -> Result<(), ApiError> {
    let filename = file.filename.clone();
    batch
        .start_file(filename.clone(), file.mimetype.clone())
        .await?;
    let mut bytes = 0;
    while let Some(view) = file.next().await? {
        bytes += view.len() as u64;
        if bytes > max {
            return Err(ApiError::FileTooLarge { filename, max });
        }
        batch.write(&view).await?;
    }
    if bytes == 0 {
        return Err(ApiError::EmptyFile { filename });
    }
    batch.finish_file().await?;
    Ok(())
}

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge { max_bytes } => Self::RequestTooLarge { max: max_bytes },
            BodyError::Idle => Self::IdleTimeout,
            BodyError::CutOff | BodyError::Malformed(_) => Self::MalformedMultipart {
                reason: error.to_string(),
            },
        }
    }
}
