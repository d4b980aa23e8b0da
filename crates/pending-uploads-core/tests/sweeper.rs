//! The sweeper over mocks: what it asks a store for, and when.
#![cfg(feature = "mock")]

use std::sync::Arc;
use std::time::Duration;

use pending_uploads_core::{ManualClock, MockActivityLog, SweepSummary, Sweeper, Timestamp};

const DAY: Duration = Duration::from_hours(24);
const NOW: Timestamp = Timestamp::from_micros(1_777_896_000_000_000);

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::starting_at(NOW))
}

#[tokio::test]
async fn feeds_are_pruned_where_there_are_no_files() {
    let mut left = [3, 2, 0].into_iter();
    let mut activity = MockActivityLog::new();
    activity
        .expect_prune()
        .withf(|horizon| *horizon == NOW.saturating_sub(DAY))
        .times(3)
        .returning(move |_| Ok(left.next().unwrap()));
    let sweeper = Sweeper::of_feeds(Arc::new(activity), clock(), DAY);
    let expected = SweepSummary {
        feed_rows: 5,
        ..SweepSummary::default()
    };
    assert_eq!(sweeper.sweep_until_dry().await.unwrap(), expected);
}
