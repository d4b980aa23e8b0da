//! Pruning old rows of the feeds.

use std::time::Duration;

use super::support::*;
use super::{Fixture, Subject, Terms};
use crate::{ActivityId, Error, Timestamp, WorkspaceId};

async fn prune(subject: &Subject, horizon: Timestamp) -> u64 {
    let mut pruned = 0;
    loop {
        match subject.activity.prune(horizon).await.unwrap() {
            0 => return pruned,
            rows => pruned += rows,
        }
    }
}

/// A feed of four rows, a second apart; answers their ids, and the time now is a second later.
async fn four_rows(subject: &Subject, workspace: WorkspaceId) -> Vec<ActivityId> {
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(subject.cursor(workspace).await);
        subject.clock.advance(Duration::from_secs(1));
    }
    ids
}

/// `ActivityLog::prune`: the rows before the horizon go, and those at it and behind it stay.
pub async fn rows_before_the_horizon_go(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    four_rows(&subject, workspace).await;
    let horizon = subject.feed(workspace).await[2].created_at;
    assert_eq!(prune(&subject, horizon).await, 2);
    assert_eq!(seqs(&subject.feed(workspace).await), [3, 4]);
    assert_eq!(prune(&subject, horizon).await, 0);
}

/// Invariant 2, and `ActivityLog::prune`: where a clock was ahead and was set back, no row goes from
/// behind one that stays.
pub async fn a_row_that_stays_keeps_those_behind_it(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let ahead = Duration::from_hours(3);
    subject.clock.advance(ahead);
    subject.cursor(workspace).await;
    subject.clock.set_back(ahead);
    four_rows(&subject, workspace).await;
    assert_eq!(prune(&subject, subject.now()).await, 0);
    assert_eq!(seqs(&subject.feed(workspace).await), [1, 2, 3, 4, 5]);
    subject.clock.advance(ahead + Duration::from_secs(1));
    assert_eq!(prune(&subject, subject.now()).await, 4);
    assert_eq!(seqs(&subject.feed(workspace).await), [5]);
}

/// `ActivityLog::prune`: a horizon before all time is one before which there is no row.
pub async fn nothing_is_before_all_time(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    four_rows(&subject, workspace).await;
    let horizon = subject.now().saturating_sub(Duration::MAX);
    assert_eq!(prune(&subject, horizon).await, 0);
    assert_eq!(seqs(&subject.feed(workspace).await), [1, 2, 3, 4]);
}

/// `ActivityLog::prune`: the newest row of each workspace stays, so that a quiet one keeps its
/// cursor.
pub async fn the_newest_row_of_each_workspace_stays(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspaces = [subject.workspace().await, subject.workspace().await];
    let mut cursors = Vec::new();
    for workspace in workspaces {
        cursors.push(four_rows(&subject, workspace).await[3]);
    }
    assert_eq!(prune(&subject, subject.now()).await, 6);
    for (workspace, cursor) in workspaces.into_iter().zip(cursors) {
        let rows = subject.activity.list(workspace, &after(cursor)).await;
        assert_eq!(rows.unwrap(), []);
        assert_eq!(seqs(&subject.feed(workspace).await), [4]);
    }
}

/// `ActivityLog::list`: a cursor that was pruned is gone: rows behind it may be missing.
pub async fn a_pruned_cursor_is_gone(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let cursors = four_rows(&subject, workspace).await;
    prune(&subject, subject.now()).await;
    let rows = subject.activity.list(workspace, &after(cursors[2])).await;
    assert_error!(rows, Error::CursorGone);
}

/// `FeedStart::Oldest`: after a prune, the oldest row that is left comes first.
pub async fn the_oldest_row_is_the_oldest_that_is_left(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    four_rows(&subject, workspace).await;
    let horizon = subject.feed(workspace).await[1].created_at;
    for (horizon, left) in [(horizon, dense(4)[1..].to_vec()), (subject.now(), vec![4])] {
        prune(&subject, horizon).await;
        let rows = subject.activity.list(workspace, &oldest()).await.unwrap();
        assert_eq!(seqs(&rows), left);
    }
}

/// Invariant 2: pruning makes no gap for those who come after: the numbers go on.
pub async fn the_numbers_go_on_after_a_prune(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    four_rows(&subject, workspace).await;
    prune(&subject, subject.now()).await;
    subject.publish(workspace, b"x").await;
    assert_eq!(seqs(&subject.feed(workspace).await), [4, 5]);
    prune(&subject, subject.now()).await;
    subject.cursor(workspace).await;
    assert_eq!(seqs(&subject.feed(workspace).await), [5, 6]);
}

/// `ActivityLog::prune`: touches no file.
pub async fn pruning_touches_no_file(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let upload = subject.publish(workspace, b"hello").await;
    subject.clock.advance(Duration::from_secs(1));
    subject.cursor(workspace).await;
    assert_eq!(prune(&subject, subject.now()).await, 1);
    assert_eq!(subject.bytes(&upload).await, b"hello");
}
