//! `Expect: 100-continue`: what is judged before a body is asked for.

use std::time::Instant;

use actix_http::body::{BoxBody, MessageBody};
use actix_http::{Method, Request, Response};
use actix_web::{HttpMessage, ResponseError};
use pending_uploads_core::WorkspaceId;

use super::requests::UnderWay;
use super::unread::{HeldBody, under_way};
use crate::auth;
use crate::error::ApiError;
use crate::events::{self, Site};
use crate::platform::Platform;
use crate::upload::check_announced_length;

/// Lets a request go on, and its body be asked for, unless it is an upload that would be refused
/// whatever its body is.
pub(super) async fn before_continue(
    platform: Platform,
    request: Request,
) -> Result<Request, Response<BoxBody>> {
    let started = Instant::now();
    let under_way = under_way(&request);
    match judge(&platform, &request).await {
        Ok(()) => Ok(request),
        Err(error) => {
            let workspace = upload_target(&request).and_then(|id| id.parse().ok());
            events::refused(&Site::of_upload(workspace), &error, started.elapsed());
            Err(refuse(&error, request, under_way))
        }
    }
}

async fn judge(platform: &Platform, request: &Request) -> Result<(), ApiError> {
    let Some(id) = upload_target(request) else {
        return Ok(());
    };
    let workspace: WorkspaceId = id.parse().map_err(|_| ApiError::InvalidId {
        what: "workspace id",
    })?;
    auth::authorize_for(platform, workspace, request.headers()).await?;
    check_announced_length(request.headers(), &platform.settings().limits)
}

/// The workspace id in the path, when the request is an upload. One that is percent-encoded is left
/// to the route, which decodes it.
fn upload_target(request: &Request) -> Option<&str> {
    let id = request
        .path()
        .strip_prefix("/workspaces/")?
        .strip_suffix("/chat/uploads")?;
    (request.method() == Method::POST && !id.contains(['/', '%'])).then_some(id)
}

fn refuse(
    error: &ApiError,
    mut request: Request,
    under_way: Option<UnderWay>,
) -> Response<BoxBody> {
    let payload = request.take_payload();
    let answer: Response<BoxBody> = error.error_response().into();
    answer.map_body(|_, body| HeldBody::new(body, payload, under_way).boxed())
}
