//! `POST /registry/register`: a workspace says who it is and how things reach it.

use actix_web::{HttpRequest, HttpResponse, web};
use pending_uploads_core::{
    CallbackUrl, DeliveryMode, InboundSecret, Registered, Registrar, Registration, Token,
    WorkspaceId,
};
use serde_json::{Map, Value};

use crate::address::check_callback;
use crate::auth::bearer;
use crate::body::{Body, parse_json_object};
use crate::error::ApiError;
use crate::platform::{Platform, RegistrationPolicy};
use crate::wire::{self, RegisteredAnswer};

/// The longest registration, in bytes: 64 KiB. Little, because anybody may send one.
const MAX_REGISTRATION_BYTES: u32 = 64 * 1024;

/// Registers a workspace, or changes its registration.
///
/// A token that does not fit the id counts as none: it is of no use for a new id, and an id that
/// exists is refused to it.
pub(crate) async fn register(
    request: HttpRequest,
    platform: web::Data<Platform>,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let closed = platform.settings().registration == RegistrationPolicy::AdminOnly;
    if closed && bearer(&request).is_none() {
        return Err(ApiError::Unauthorized);
    }
    let registration = parse(&body.read(MAX_REGISTRATION_BYTES).await?)?;
    let registrar = registrar(&platform, &request, registration.id).await?;
    if closed && registrar == Registrar::Anonymous {
        return Err(ApiError::Unauthorized);
    }
    if let Some(url) = &registration.url {
        check_callback(platform.settings().callbacks, url)?;
    }
    let registered = platform
        .workspaces()
        .register(registration, registrar)
        .await?;
    Ok(render(&registered))
}

async fn registrar(
    platform: &Platform,
    request: &HttpRequest,
    id: WorkspaceId,
) -> Result<Registrar, ApiError> {
    let Some(token) = bearer(request) else {
        return Ok(Registrar::Anonymous);
    };
    if platform.is_admin(&token) {
        return Ok(Registrar::Admin);
    }
    let workspace = platform.workspaces().authenticate(id, &token).await?;
    Ok(workspace.map_or(Registrar::Anonymous, |own| Registrar::Workspace(own.id)))
}

fn render(registered: &Registered) -> HttpResponse {
    let secret = registered.inbound_secret.as_ref();
    wire::answer(&RegisteredAnswer {
        status: "registered",
        delivery_mode: registered.delivery_mode.as_str(),
        auth_token: registered.auth_token.as_ref().map(Token::expose),
        platform_inbound_secret: secret.map(InboundSecret::expose),
    })
}

fn parse(body: &[u8]) -> Result<Registration, ApiError> {
    let fields = parse_json_object(body)?;
    Ok(Registration {
        id: id(&fields)?,
        delivery_mode: delivery_mode(&fields)?,
        url: url(&fields)?,
        agent_card: agent_card(&fields)?,
    })
}

fn id(fields: &Map<String, Value>) -> Result<WorkspaceId, ApiError> {
    let text = fields.get("id").and_then(Value::as_str);
    text.and_then(|id| id.parse().ok())
        .ok_or(ApiError::InvalidField {
            field: "id",
            expected: "a UUID",
        })
}

fn delivery_mode(fields: &Map<String, Value>) -> Result<Option<DeliveryMode>, ApiError> {
    let refused = ApiError::InvalidField {
        field: "delivery_mode",
        expected: "push or poll",
    };
    match fields.get("delivery_mode") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(mode)) => mode.parse().map(Some).map_err(|_| refused),
        Some(_) => Err(refused),
    }
}

/// An empty URL is one that was left out: workspaces that poll have nothing to put there.
fn url(fields: &Map<String, Value>) -> Result<Option<CallbackUrl>, ApiError> {
    let refused = ApiError::InvalidField {
        field: "url",
        expected: "an absolute http or https URL without credentials, query or fragment",
    };
    match fields.get("url") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(url)) if url.is_empty() => Ok(None),
        Some(Value::String(url)) => url.parse().map(Some).map_err(|_| refused),
        Some(_) => Err(refused),
    }
}

fn agent_card(fields: &Map<String, Value>) -> Result<Option<Value>, ApiError> {
    match fields.get("agent_card") {
        None | Some(Value::Null) => Ok(None),
        Some(card @ Value::Object(_)) => Ok(Some(card.clone())),
        Some(_) => Err(ApiError::InvalidField {
            field: "agent_card",
            expected: "a JSON object",
        }),
    }
}
