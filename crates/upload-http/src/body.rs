//! Small request bodies, read whole: bounded in length, and in how long their sender may be silent.

use std::future::{Ready, ready};
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::{FromRequest, HttpRequest};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde_json::Value;
use tokio::time::timeout;

use crate::auth::platform;
use crate::error::ApiError;

/// The cap on a JSON body, in bytes: 1 MiB.
pub(crate) const MAX_JSON_BYTES: usize = 1024 * 1024;

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
    /// Reads the whole body, which may be empty.
    ///
    /// # Errors
    /// [`ApiError::RequestTooLarge`] for more than [`MAX_JSON_BYTES`], before anything is read when
    /// the length is declared; [`ApiError::IdleTimeout`]; [`ApiError::InvalidJson`] when it is cut
    /// off.
    pub(crate) async fn read(mut self) -> Result<Bytes, ApiError> {
        let too_large = ApiError::RequestTooLarge {
            max: MAX_JSON_BYTES as u64,
        };
        if self.declared_bytes > Some(MAX_JSON_BYTES as u64) {
            return Err(too_large);
        }
        let mut whole = BytesMut::new();
        while let Some(piece) = timeout(self.idle_timeout, self.payload.next())
            .await
            .map_err(|_| ApiError::IdleTimeout)?
        {
            let piece = piece.map_err(|_| ApiError::InvalidJson)?;
            if whole.len() + piece.len() > MAX_JSON_BYTES {
                return Err(too_large);
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    /// Reads the whole body as JSON (RFC 8259).
    ///
    /// # Errors
    /// Those of [`read`](Self::read), and [`ApiError::InvalidJson`].
    pub(crate) async fn read_json(self) -> Result<Value, ApiError> {
        parse_json(&self.read().await?)
    }
}

/// Parses `text` as JSON (RFC 8259).
pub(crate) fn parse_json(text: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(text).map_err(|_| ApiError::InvalidJson)
}
