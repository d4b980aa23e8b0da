//! Deadlines, also of those who want none.

use std::time::Duration;

use tokio::time::Instant;

/// As good as never, and not too far for any clock.
const NEVER: Duration = Duration::from_hours(24 * 365 * 30);

/// So long after `since`; a time that no clock can hold, such as [`Duration::MAX`], is never.
pub(super) fn after(since: Instant, patience: Duration) -> Instant {
    since.checked_add(patience).unwrap_or_else(|| since + NEVER)
}
