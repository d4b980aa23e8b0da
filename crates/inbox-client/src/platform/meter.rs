//! Long bodies: how long each piece is waited for, and how fast they must come.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Response;
use tokio::time::{Instant, timeout_at};

use super::answer::broken_off;
use super::deadline::after;
use super::error::CallError;
use crate::{SlowPeer, Timeouts};

/// Takes the pieces of one body as they come, and leaves a peer that falls silent or trickles.
#[derive(Debug)]
pub(super) struct Meter {
    idle: Duration,
    pace: Pace,
}

impl Meter {
    pub(super) fn new(timeouts: &Timeouts) -> Self {
        Self {
            idle: timeouts.idle,
            pace: Pace::new(timeouts.slow),
        }
    }

    /// Waits for the next piece, which is not empty; none when the body is over. Only the time that is
    /// spent in here counts.
    ///
    /// Errors are [`CallError::TimedOut`], [`CallError::TooSlow`] and [`CallError::BrokenOff`].
    pub(super) async fn piece(
        &mut self,
        response: &mut Response,
    ) -> Result<Option<Bytes>, CallError> {
        let mut since = Instant::now();
        let silent = after(since, self.idle);
        loop {
            let window = self.pace.left().map(|left| after(since, left));
            let until = window.map_or(silent, |end| end.min(silent));
            let piece = timeout_at(until, response.chunk()).await;
            let now = Instant::now();
            let bytes = match &piece {
                Ok(Ok(Some(piece))) => piece.len(),
                _ => 0,
            };
            let kept_up = self.pace.went_on(now - since, bytes);
            match piece {
                Ok(Ok(Some(piece))) if piece.is_empty() => {}
                Ok(Ok(Some(piece))) => return kept_up.map(|()| Some(piece)),
                Ok(Ok(None)) => return Ok(None),
                Ok(Err(error)) => return Err(broken_off(error)),
                Err(_) if now >= silent => return Err(CallError::TimedOut),
                Err(_) => {}
            }
            kept_up?;
            since = now;
        }
    }
}

/// How fast the bytes come: how many did in the window that is open, and how long they were waited for.
#[derive(Debug)]
struct Pace {
    /// What is asked for; none when any pace will do.
    slow: Option<SlowPeer>,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    fn new(slow: SlowPeer) -> Self {
        Self {
            slow: Some(slow).filter(SlowPeer::asks_for_something),
            waited: Duration::ZERO,
            bytes: 0,
        }
    }

    /// How much of the window is left.
    fn left(&self) -> Option<Duration> {
        let slow = self.slow?;
        Some(slow.window.saturating_sub(self.waited))
    }

    /// Counts `bytes` that took `waited`; at the end of the window they must be enough.
    fn went_on(&mut self, waited: Duration, bytes: usize) -> Result<(), CallError> {
        let Some(slow) = self.slow else {
            return Ok(());
        };
        self.waited = self.waited.saturating_add(waited);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.waited < slow.window {
            return Ok(());
        }
        let enough = self.bytes >= slow.min_bytes;
        (self.waited, self.bytes) = (Duration::ZERO, 0);
        enough.then_some(()).ok_or(CallError::TooSlow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn too_few_bytes_within_a_window_are_too_slow_and_enough_begin_a_new_one() {
        let mut pace = Pace::new(SlowPeer {
            min_bytes: 10,
            window: 4 * SECOND,
        });
        assert!(pace.went_on(3 * SECOND, 9).is_ok());
        assert_eq!(pace.left(), Some(SECOND));
        assert!(pace.went_on(SECOND, 1).is_ok());
        assert_eq!(pace.left(), Some(4 * SECOND));
        assert!(pace.went_on(3 * SECOND, 9).is_ok());
        assert!(matches!(pace.went_on(SECOND, 0), Err(CallError::TooSlow)));
    }

    #[test]
    fn without_a_window_or_bytes_to_ask_for_nobody_is_too_slow() {
        for (min_bytes, window) in [
            (10, Duration::ZERO),
            (0, SECOND),
            (0, Duration::ZERO),
            (0, Duration::MAX),
        ] {
            let mut pace = Pace::new(SlowPeer { min_bytes, window });
            assert!(pace.went_on(Duration::MAX, 0).is_ok());
            assert!(pace.went_on(SECOND, usize::MAX).is_ok());
            assert_eq!(pace.left(), None);
        }
    }
}
