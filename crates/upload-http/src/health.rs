//! `GET /healthz`, `/readyz` and `/metrics`: for those who run the platform.

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpResponse, web};
use serde_json::json;

use crate::error::{ApiError, Cause};
use crate::platform::Platform;
use crate::wire;

/// Prometheus' text exposition format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The process is alive.
pub(crate) async fn healthz() -> HttpResponse {
    wire::answer(&json!({"status": "ok"}))
}

/// The platform can serve: its backends are there, and it is not stopping.
pub(crate) async fn readyz(platform: web::Data<Platform>) -> Result<HttpResponse, ApiError> {
    if platform.shutdown().is_cancelled() {
        return Err(ApiError::NotReady(Cause::new("the platform is stopping")));
    }
    let ready = platform.readiness().check().await;
    ready.map_err(|error| ApiError::NotReady(Cause::of(&error)))?;
    Ok(wire::answer(&json!({"status": "ready"})))
}

/// The process's metrics; 404 when nobody renders them.
pub(crate) async fn metrics(platform: web::Data<Platform>) -> Result<HttpResponse, ApiError> {
    let render = platform.metrics().ok_or(ApiError::UnknownRoute)?;
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, METRICS_TYPE))
        .body(render()))
}
