//! Small request bodies, read whole: bounded in length, and in how long their sender may be silent.

use std::future::{Ready, ready};
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::{FromRequest, HttpRequest};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::auth::platform;
use crate::error::ApiError;

/// A request's body, not read yet. A handler reads it after the caller has been authorized.
pub(crate) struct Body {
    payload: Payload,
    declared_bytes: Option<u64>,
    idle_timeout: Duration,
}

impl FromRequest for Body {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let declared = request.headers().get(CONTENT_LENGTH);
        ready(platform(request).map(|platform| Self {
            payload: payload.take(),
            declared_bytes: declared.and_then(|value| value.to_str().ok()?.parse().ok()),
            idle_timeout: platform.settings().idle_timeout,
        }))
    }
}

impl Body {
    /// Reads the whole body, which may be empty, and holds no more memory than its length when that
    /// is declared.
    ///
    /// # Errors
    /// [`ApiError::RequestTooLarge`] for more than `max` bytes, before anything is read when the
    /// length is declared; [`ApiError::IdleTimeout`]; [`ApiError::InvalidJson`] when it is cut off.
    pub(crate) async fn read(mut self, max: u32) -> Result<Bytes, ApiError> {
        let max = u64::from(max);
        let declared = self.declared_bytes.unwrap_or(0);
        if declared > max {
            return Err(ApiError::RequestTooLarge { max });
        }
        let mut whole = BytesMut::with_capacity(usize::try_from(declared).unwrap_or(0));
        while let Some(piece) = timeout(self.idle_timeout, self.payload.next())
            .await
            .map_err(|_| ApiError::IdleTimeout)?
        {
            let piece = piece.map_err(|_| ApiError::InvalidJson)?;
            if (whole.len() + piece.len()) as u64 > max {
                return Err(ApiError::RequestTooLarge { max });
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }
}

/// Parses `text` as JSON (RFC 8259).
pub(crate) fn parse_json(text: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(text).map_err(|_| ApiError::InvalidJson)
}

/// Parses `text` as a JSON object (RFC 8259, section 4).
pub(crate) fn parse_json_object(text: &[u8]) -> Result<Map<String, Value>, ApiError> {
    match parse_json(text)? {
        Value::Object(fields) => Ok(fields),
        _ => Err(ApiError::NoJsonObject),
    }
}
