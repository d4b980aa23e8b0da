//! Leaving the platform alone when it asks for that: with one file, it speaks of them all.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The time that was asked for is longer than there is patience.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong;

/// Until when no file is fetched or acked.
#[derive(Debug, Default)]
pub(super) struct Quiet(Mutex<Option<Instant>>);

impl Quiet {
    /// Notes that the platform asked for so much time, from now on. A time that is too long for a
    /// clock is none.
    pub(super) fn asked_for(&self, time: Duration) {
        let mut end = self.lock();
        *end = (*end).max(Instant::now().checked_add(time));
    }

    /// Waits until the time is over that was asked for, also while this waited, unless that takes
    /// longer than `patience`.
    ///
    /// # Errors
    /// [`TooLong`], at once when that is known.
    pub(super) async fn over(&self, patience: Duration) -> Result<(), TooLong> {
        loop {
            let end = *self.lock();
            let now = Instant::now();
            match end {
                Some(end) if end > now => {
                    if end - now > patience {
                        return Err(TooLong);
                    }
                    sleep_until(end).await;
                }
                _ => return Ok(()),
            }
        }
    }

    /// A task that panicked with the lock left a time that is as right as before.
    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
