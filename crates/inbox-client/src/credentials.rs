//! The token that is used now, and how it is renewed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use pending_uploads_core::Token;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::{TokenError, TokenSource};

/// Holds the token, and asks for another when the platform refused it: one question at a time,
/// however many calls need the answer.
pub(crate) struct Credentials {
    source: Arc<dyn TokenSource>,
    /// How long the source may take.
    patience: Duration,
    /// Locked while the source is asked.
    held: Mutex<Option<Held>>,
}

/// A token as a call uses it.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) token: Token,
    /// Which answer of the source it is: 1, 2, 3, …
    generation: u64,
    standing: Standing,
}

/// What the platform thinks of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It has not refused it.
    Good,
    /// It refused it before, and the source gave it again: it is tried again.
    GivenAgain,
    /// It refused it: the source is asked before the next call.
    Refused,
}

impl Credentials {
    /// Asks nobody yet.
    pub(crate) fn new(source: Arc<dyn TokenSource>, patience: Duration) -> Self {
        Self {
            source,
            patience,
            held: Mutex::new(None),
        }
    }

    /// The token for a call. The source is asked when there is none, or when it was refused.
    ///
    /// # Errors
    /// [`TokenError`] of the source.
    pub(crate) async fn current(&self) -> Result<Held, TokenError> {
        let mut held = self.held.lock().await;
        match held.as_ref() {
            Some(good) if good.standing != Standing::Refused => Ok(good.clone()),
            _ => self.renew(&mut held).await,
        }
    }

    /// Another token, at once, for a call whose token `used` was refused; none when there is no other:
    /// the source gave that very one again, just before or now, or the platform refused the other
    /// one as well.
    ///
    /// # Errors
    /// [`TokenError`] of the source.
    pub(crate) async fn other_than(&self, used: &Held) -> Result<Option<Held>, TokenError> {
        let mut held = self.held.lock().await;
        if refuse(&mut held, used) {
            if used.standing == Standing::GivenAgain {
                return Ok(None);
            }
            self.renew(&mut held).await?;
            if let Some(again) = held.as_mut().filter(|new| is_same(new, used)) {
                again.standing = Standing::Refused;
            }
        }
        let usable = |new: &&Held| new.standing != Standing::Refused && !is_same(new, used);
        Ok(held.as_ref().filter(usable).cloned())
    }

    /// The platform refused the token `used`, too: the source is asked before the next call.
    pub(crate) async fn refused(&self, used: &Held) {
        refuse(&mut *self.held.lock().await, used);
    }

    async fn renew(&self, held: &mut Option<Held>) -> Result<Held, TokenError> {
        let token = timeout(self.patience, self.source.token())
            .await
            .map_err(|elapsed| TokenError(elapsed.into()))??;
        let before = held.as_ref();
        let standing = match before {
            Some(before) if before.token.expose() == token.expose() => Standing::GivenAgain,
            _ => Standing::Good,
        };
        let new = Held {
            token,
            generation: before.map_or(0, |before| before.generation) + 1,
            standing,
        };
        *held = Some(new.clone());
        Ok(new)
    }
}

/// Marks the token that is held as refused, if it is still the one that was `used`.
fn refuse(held: &mut Option<Held>, used: &Held) -> bool {
    match held {
        Some(held) if held.generation == used.generation => {
            held.standing = Standing::Refused;
            true
        }
        _ => false,
    }
}

fn is_same(held: &Held, used: &Held) -> bool {
    held.token.expose() == used.token.expose()
}

/// Shows nothing of the token.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}
