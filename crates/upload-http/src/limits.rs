//! `GET /uploads/limits`: the one source of the limits for every client.

use actix_web::{HttpResponse, web};

use crate::platform::Platform;
use crate::wire::LimitsAnswer;

/// Answers the limits of an upload, to anybody.
pub(crate) async fn limits(platform: web::Data<Platform>) -> HttpResponse {
    let limits = platform.settings().limits;
    HttpResponse::Ok().json(LimitsAnswer {
        per_file_bytes: limits.per_file_bytes(),
        per_request_bytes: limits.per_request_bytes(),
        max_attachments_per_message: limits.max_files(),
    })
}
