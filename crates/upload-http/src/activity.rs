//! `GET /workspaces/{id}/activity`: the feed that a workspace polls.

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use pending_uploads_core::{Activity, WorkspaceId};

use crate::activity_query::{Asked, Wait};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::platform::Platform;
use crate::wire::{self, FeedRow};

/// `Preference-Applied` (RFC 7240, section 3).
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Answers the rows that the query asks for, and may wait for the first of them.
pub(crate) async fn list(
    request: HttpRequest,
    caller: Caller,
    platform: web::Data<Platform>,
) -> Result<HttpResponse, ApiError> {
    let now = platform.clock().now();
    let asked = Asked::read(request.query_string(), request.headers(), now)?;
    let rows = rows(&platform, caller.workspace.id, &asked).await?;
    let rows: Vec<FeedRow<'_>> = rows.iter().map(FeedRow::from).collect();
    let mut answer = wire::answer(&rows);
    if let Wait::Preference(secs) = asked.wait {
        let applied = HeaderValue::try_from(format!("wait={secs}"));
        let applied = applied.unwrap_or(HeaderValue::from_static("wait"));
        answer.headers_mut().insert(PREFERENCE_APPLIED, applied);
    }
    Ok(answer)
}

/// A platform that stops answers those who wait at once: they come again, and to another instance.
async fn rows(
    platform: &Platform,
    workspace: WorkspaceId,
    asked: &Asked,
) -> Result<Vec<Activity>, ApiError> {
    let feed = platform.activity();
    let Some(patience) = asked.wait.patience() else {
        return Ok(feed.list(workspace, &asked.query).await?);
    };
    tokio::select! {
        biased;
        rows = feed.wait(workspace, &asked.query, patience) => Ok(rows?),
        () = platform.shutdown().cancelled() => Ok(Vec::new()),
    }
}
