//! The sweeper over mocks: what it asks a store for, and when.
#![cfg(feature = "mock")]

use std::sync::Arc;
use std::time::Duration;

use pending_uploads_core::{
    FileId, ManualClock, MockActivityLog, MockStorage, Stats, SweepPolicy, SweepReason,
    SweepSummary, Sweeper, Swept, SweptFile, Timestamp, WorkspaceId,
};
use tokio::sync::mpsc;

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

/// What a step deletes when there is always one more.
fn one_more() -> Swept {
    let file = SweptFile {
        file_id: FileId::generate(),
        workspace_id: WorkspaceId::generate(),
        filename: None,
        size_bytes: 1,
        reason: SweepReason::Acked,
    };
    Swept { files: vec![file] }
}

#[tokio::test]
async fn feeds_are_pruned_and_gauges_set_while_there_is_always_more_to_sweep() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let mut steps = 0;
    let mut storage = MockStorage::new();
    storage.expect_sweep().returning(move |_| {
        steps += 1;
        assert!(steps < 100_000, "nothing but files is swept");
        Ok(one_more())
    });
    let tell_of_stats = tell.clone();
    storage.expect_stats().returning(move || {
        tell_of_stats.send("stats").unwrap();
        Ok(Stats::default())
    });
    let mut activity = MockActivityLog::new();
    activity.expect_prune().returning(move |_| {
        tell.send("prune").unwrap();
        Ok(0)
    });
    let (storage, activity) = (Arc::new(storage), Arc::new(activity));
    let sweeper = Sweeper::new(storage, activity, clock(), SweepPolicy::default());
    let listen = async {
        let mut heard = Vec::new();
        while heard.len() < 3 {
            heard.push(told.recv().await.unwrap());
        }
        heard
    };
    // No tick comes twice: what goes on does so at once.
    let heard = tokio::select! {
        () = sweeper.run(Duration::MAX) => Vec::new(),
        heard = listen => heard,
    };
    assert_eq!(heard, ["stats", "prune", "stats"]);
}
