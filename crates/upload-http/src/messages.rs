//! `POST /workspaces/{id}/a2a`: a message for a workspace, which waits in its feed or is sent on.

use actix_web::{HttpRequest, HttpResponse, web};
use pending_uploads_core::{Delivery, DeliveryMode, NewActivity, WorkspaceId};
use serde_json::{Map, Value};

use crate::auth::Caller;
use crate::body::{Body, parse_json};
use crate::error::ApiError;
use crate::events::Site;
use crate::forward::forward_message;
use crate::platform::Platform;
use crate::wire::{self, Queued};

/// The one method that is taken.
const METHOD: &str = "message/send";
/// The longest message, in bytes: 1 MiB.
const MAX_MESSAGE_BYTES: u32 = 1024 * 1024;

/// Takes a JSON-RPC 2.0 `message/send` request for the workspace.
pub(crate) async fn send(
    request: HttpRequest,
    caller: Caller,
    platform: web::Data<Platform>,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let text = body.read(MAX_MESSAGE_BYTES).await?;
    let message = parse(&text)?;
    match &caller.workspace.delivery {
        Delivery::Poll => queue(&platform, caller.workspace.id, message).await,
        Delivery::Push { url, secret } => {
            forward_message(&platform, Site::of(&request), url, secret, text).await
        }
        Delivery::Unreachable => Err(ApiError::NoCallbackUrl),
    }
}

async fn queue(
    platform: &Platform,
    workspace: WorkspaceId,
    mut message: Value,
) -> Result<HttpResponse, ApiError> {
    name_kinds(&mut message);
    let row = NewActivity::message(workspace, METHOD, message);
    platform.activity().append(workspace, row).await?;
    Ok(wire::answer(&Queued {
        status: "queued",
        delivery_mode: DeliveryMode::Poll.as_str(),
        method: METHOD,
    }))
}

/// Reads a request object (JSON-RPC 2.0, section 4) for [`METHOD`]. A batch (section 6) is none.
fn parse(text: &[u8]) -> Result<Value, ApiError> {
    let message = parse_json(text)?;
    let expect = |holds: bool, expected| {
        if holds {
            Ok(())
        } else {
            Err(ApiError::InvalidMessage { expected })
        }
    };
    expect(message.is_object(), "the body must be a JSON object")?;
    expect(message["jsonrpc"] == "2.0", "jsonrpc must be \"2.0\"")?;
    expect(message["method"] == METHOD, "method must be message/send")?;
    expect(message["params"].is_object(), "params must be an object")?;
    let id_fits = matches!(
        message["id"],
        Value::Null | Value::String(_) | Value::Number(_)
    );
    expect(id_fits, "id must be a string or a number")?;
    Ok(message)
}

/// Where the parts of a message may stand.
const PARTS: [&str; 3] = ["/params/message/parts", "/params/parts", "/parts"];

/// Renames each part's legacy `type` to `kind`, unless the part has a `kind` already.
fn name_kinds(message: &mut Value) {
    for place in PARTS {
        let parts = message.pointer_mut(place).and_then(Value::as_array_mut);
        let parts = parts.into_iter().flatten();
        for part in parts.filter_map(Value::as_object_mut) {
            name_kind(part);
        }
    }
}

fn name_kind(part: &mut Map<String, Value>) {
    if !part.contains_key("kind")
        && let Some(kind) = part.remove("type")
    {
        part.insert("kind".to_owned(), kind);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_parts_legacy_type_becomes_its_kind_and_a_kind_stays() {
        let mut message = json!({"params": {"message": {"parts": [
            {"type": "text", "text": "hi"},
            {"kind": "file", "type": "x"},
            {"url": "u"},
            "no object",
        ]}}});
        name_kinds(&mut message);
        assert_eq!(
            message["params"]["message"]["parts"],
            json!([
                {"kind": "text", "text": "hi"},
                {"kind": "file", "type": "x"},
                {"url": "u"},
                "no object",
            ])
        );
    }

    #[test]
    fn parts_are_found_wherever_they_may_stand() {
        let legacy = || json!([{"type": "text"}]);
        let mut message = json!({
            "params": {"message": {"parts": legacy()}, "parts": legacy()},
            "parts": legacy(),
        });
        name_kinds(&mut message);
        for place in PARTS {
            let parts = message.pointer(place).unwrap();
            assert_eq!(*parts, json!([{"kind": "text"}]), "{place}");
        }
    }

    #[test]
    fn a_message_without_parts_is_left_as_it_is() {
        for mut message in [
            json!({"params": {}}),
            json!({"params": {"message": {"parts": {"type": 1}}}}),
        ] {
            let before = message.clone();
            name_kinds(&mut message);
            assert_eq!(message, before);
        }
    }
}
