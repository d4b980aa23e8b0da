//! What the floors' servers answer, in the shapes of our own answers.

use actix_web::HttpResponse;
use serde_json::{Value, json};
use uuid::Uuid;

/// Where an upload goes to.
pub(super) const UPLOADS: &str = "/workspaces/{workspace}/chat/uploads";
/// Where a feed is read.
pub(super) const ACTIVITY: &str = "/workspaces/{workspace}/activity";
/// Where a file is fetched.
pub(super) const CONTENT: &str = "/workspaces/{workspace}/pending-uploads/{file}/content";
/// Where a file is acked.
pub(super) const ACK: &str = "/workspaces/{workspace}/pending-uploads/{file}/ack";

/// Everybody is registered.
pub(super) async fn registered() -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "status": "registered",
        "delivery_mode": "poll",
        "auth_token": "floor",
    }))
}

/// It is well.
pub(super) async fn well() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok"}))
}

/// The answer to an ack.
pub(super) fn acked() -> HttpResponse {
    HttpResponse::Ok().json(json!({"acked": true}))
}

/// A page of a feed without rows.
pub(super) async fn nothing_new() -> HttpResponse {
    HttpResponse::Ok().json(json!([]))
}

/// The answer to an upload.
pub(super) fn uploaded(files: &[Value]) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "files": files }))
}

/// A file in the answer to an upload.
pub(super) fn file(workspace: Uuid, file: Uuid, name: &str, size: u64) -> Value {
    json!({
        "uri": format!("platform-pending:{workspace}/{file}"),
        "name": name,
        "mimeType": "application/octet-stream",
        "size": size,
    })
}
