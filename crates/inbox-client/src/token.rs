//! Where the workspace's token comes from.

use std::error::Error;

use async_trait::async_trait;
use pending_uploads_core::Token;

/// No token could be had.
#[derive(Debug, thiserror::Error)]
#[error("there is no token to be had")]
pub struct TokenError(#[source] pub Box<dyn Error + Send + Sync>);

/// Gives the workspace's token, and a fresh one when the platform does not take it any more.
///
/// It is asked at the start, and after each 401 (RFC 9110, section 15.5.2), at most as often as the
/// retry policy says; by one call at a time.
#[async_trait]
pub trait TokenSource: Send + Sync {
    /// The token as it is now: read anew, not kept.
    ///
    /// A token that the platform has refused may be given again; it is then tried again, after a
    /// pause. Dropping the future leaves nothing behind: that is done when it takes longer than an
    /// answer of the platform may ([`Timeouts::connect`](crate::Timeouts::connect) and
    /// [`Timeouts::answer`](crate::Timeouts::answer)), which counts as an error.
    ///
    /// # Errors
    /// [`TokenError`], which is logged, and asked for again after a pause.
    async fn token(&self) -> Result<Token, TokenError>;
}

/// The one token that there is.
#[derive(Debug, Clone)]
pub struct FixedToken(pub Token);

#[async_trait]
impl TokenSource for FixedToken {
    async fn token(&self) -> Result<Token, TokenError> {
        Ok(self.0.clone())
    }
}
