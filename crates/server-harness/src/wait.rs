//! Waiting for a condition, and never for a duration.

use std::future::Future;
use std::thread;
use std::time::Duration;

/// How often a condition is looked at, and how long in between: half a minute in all.
const LOOKS: u32 = 600;
/// The same of what a process does, on a machine that is busy with other tests: a minute.
const LOOKS_AT_A_PROCESS: u32 = 1200;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Waits until `condition` answers something, and fails when that never happens: it is looked at for
/// half a minute.
pub async fn eventually<T, F>(what: &str, mut condition: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    for _ in 0..LOOKS {
        if let Some(found) = condition().await {
            return found;
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    panic!("never came true: {what}")
}

/// Waits on this thread until `condition` answers something, for a minute.
pub(crate) fn patiently<T>(mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..LOOKS_AT_A_PROCESS {
        if let Some(found) = condition() {
            return Some(found);
        }
        thread::sleep(BETWEEN_LOOKS);
    }
    None
}
