//! The list of routes, and what every one of them has in common.

use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Route};

use crate::error::ApiError;
use crate::events::{self, Site};
use crate::platform::Platform;

/// Mounts every route on an actix-web `App` or scope.
///
/// Only these paths are touched: other services may stand beside them. Each request is logged when
/// it is refused or fails. The app's own default service answers paths that nobody serves; to have
/// it speak as these routes do, give it [`unknown_route`].
pub fn configure(platform: &Platform) -> impl FnOnce(&mut ServiceConfig) + use<> {
    let platform = platform.clone();
    move |app| {
        app.app_data(web::Data::new(platform));
    }
}

/// Answers 404 in the shape of every other error: for an app's default service.
///
/// # Errors
/// Always.
pub async fn unknown_route() -> Result<HttpResponse, ApiError> {
    Err(ApiError::UnknownRoute)
}

/// Mounts `routes` at `path`; any method that is not among them is answered with what `allow` says.
fn mount<const N: usize>(
    app: &mut ServiceConfig,
    path: &'static str,
    operation: &'static str,
    allow: &'static str,
    routes: [Route; N],
) {
    let refuse =
        move || async move { Err::<HttpResponse, ApiError>(ApiError::MethodNotAllowed { allow }) };
    let mut resource = web::resource(path)
        .name(operation)
        .default_service(web::to(refuse));
    for route in routes {
        resource = resource.route(route);
    }
    app.service(resource.wrap(from_fn(observe)));
}

/// Logs and counts every answer that is an error, once.
async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let started = Instant::now();
    let response = next.call(request).await?;
    let error = response.response().error();
    if let Some(error) = error.and_then(|error| error.as_error::<ApiError>()) {
        events::refused(&Site::of(response.request()), error, started.elapsed());
    }
    Ok(response)
}
