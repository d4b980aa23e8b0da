//! The list of routes, and what every one of them has in common.

use std::time::Instant;

use actix_http::ConnectionType;
use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::guard::fn_guard;
use actix_web::http::header::UPGRADE;
use actix_web::http::{Method, Version};
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{self, ServiceConfig};
use actix_web::{FromRequest, Handler, HttpResponse, Responder};

use crate::error::ApiError;
use crate::events::{self, Site};
use crate::platform::Platform;
use crate::{activity, content, health, limits, messages, pending, registry, upload};

/// Mounts every route on an actix-web `App` or scope.
///
/// Only these paths are touched: other services may stand beside them. Each request is logged when
/// it is refused or fails. The app's own default service answers paths that nobody serves; to have
/// it speak as these routes do, give it [`unknown_route`].
pub fn configure(platform: &Platform) -> impl FnOnce(&mut ServiceConfig) + use<> {
    let platform = platform.clone();
    move |app| {
        app.app_data(web::Data::new(platform));
        add_routes(app);
    }
}

/// The whole list: methods, the operation's name in logs and metrics, path, handler.
#[rustfmt::skip]
fn add_routes(app: &mut ServiceConfig) {
    use Methods::{Post, Read};
    add(app, Post, "register", "/registry/register", registry::register);
    add(app, Post, "upload", "/workspaces/{workspace_id}/chat/uploads", upload::upload);
    add(app, Read, "activity", "/workspaces/{workspace_id}/activity", activity::list);
    add(app, Post, "message", "/workspaces/{workspace_id}/a2a", messages::send);
    add(app, Read, "pending", "/workspaces/{workspace_id}/pending-uploads", pending::list);
    add(app, Read, "fetch", "/workspaces/{workspace_id}/pending-uploads/{file_id}/content", content::fetch);
    add(app, Post, "ack", "/workspaces/{workspace_id}/pending-uploads/{file_id}/ack", pending::ack);
    add(app, Read, "limits", "/uploads/limits", limits::limits);
    add(app, Read, "healthz", "/healthz", health::healthz);
    add(app, Read, "readyz", "/readyz", health::readyz);
    add(app, Read, "metrics", "/metrics", health::metrics);
}

/// Answers 404 in the shape of every other error: for an app's default service.
///
/// # Errors
/// Always [`ApiError::UnknownRoute`].
pub async fn unknown_route() -> Result<HttpResponse, ApiError> {
    Err(ApiError::UnknownRoute)
}

/// The methods that a path is served by.
#[derive(Debug, Clone, Copy)]
enum Methods {
    /// GET, and HEAD: the same without a body (RFC 9110, section 9.3.2).
    Read,
    /// POST.
    Post,
}

impl Methods {
    fn allow(self, method: &Method) -> bool {
        match self {
            Self::Read => *method == Method::GET || *method == Method::HEAD,
            Self::Post => *method == Method::POST,
        }
    }

    /// The value of an `Allow` header (RFC 9110, section 10.2.1).
    const fn as_allow(self) -> &'static str {
        match self {
            Self::Read => "GET, HEAD",
            Self::Post => "POST",
        }
    }
}

fn add<F, Args>(
    app: &mut ServiceConfig,
    methods: Methods,
    operation: &'static str,
    path: &'static str,
    handler: F,
) where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    let served = fn_guard(move |request| methods.allow(&request.head().method));
    let refuse = move || async move {
        let allow = methods.as_allow();
        Err::<HttpResponse, _>(ApiError::MethodNotAllowed { allow })
    };
    app.service(
        web::resource(path)
            .name(operation)
            .route(web::route().guard(served).to(handler))
            .default_service(web::to(refuse))
            .wrap(from_fn(observe)),
    );
}

/// HTTP/1.0 knows no chunks (RFC 9112, section 6.1): there an answer of unknown length ends with its
/// connection. So it does where the client offers another protocol: actix-http would announce chunks
/// and send none.
fn chunk_nothing_for_some_clients(response: &mut ServiceResponse<impl MessageBody>) {
    let request = response.request();
    let takes_none =
        request.version() < Version::HTTP_11 || request.headers().contains_key(UPGRADE);
    if takes_none && response.response().body().size() == BodySize::Stream {
        let head = response.response_mut().head_mut();
        head.no_chunking(true);
        head.set_connection_type(ConnectionType::Close);
    }
}

/// Logs and counts every answer that is an error, once, and sends nobody what he cannot read.
async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let started = Instant::now();
    let mut response = next.call(request).await?;
    chunk_nothing_for_some_clients(&mut response);
    let error = response.response().error();
    if let Some(error) = error.and_then(|error| error.as_error::<ApiError>()) {
        events::refused(&Site::of(response.request()), error, started.elapsed());
    }
    Ok(response)
}
