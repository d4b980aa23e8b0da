//! Deleting what nobody will come for, and counting what is there: invariant 7 (hard TTL).

use std::collections::HashSet;
use std::slice;
use std::time::Duration;

use super::support::*;
use super::{Fixture, Terms};
use crate::{
    ActivityStatus, ActivityType, Error, NewActivity, PendingUpload, Stats, SweepPolicy,
    SweepReason, SweptFile,
};

const SECOND: Duration = Duration::from_secs(1);

fn swept(upload: &PendingUpload, reason: SweepReason) -> SweptFile {
    SweptFile {
        file_id: upload.file_id,
        workspace_id: upload.workspace_id,
        filename: Some(upload.filename.clone()),
        size_bytes: upload.size_bytes,
        reason,
    }
}

/// `Storage::sweep`: an empty store is dry.
pub async fn a_sweep_of_nothing_is_dry(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    assert_eq!(subject.sweep().await, []);
}

/// `Storage::sweep`: a waiting file is never swept.
pub async fn a_waiting_file_is_not_swept(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let upload = subject.publish(workspace, b"hello").await;
    subject.clock.advance(subject.ttl.saturating_sub(SECOND));
    assert_eq!(subject.sweep().await, []);
    assert_eq!(subject.bytes(&upload).await, b"hello");
}

/// `SweepPolicy::ack_retention`: the record of an acked file is kept so long, and then swept.
pub async fn an_acked_file_is_swept_after_its_retention(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let upload = subject.publish(workspace, b"hello").await;
    subject.clock.advance(Duration::from_secs(5));
    subject.ack(&upload).await;
    let retention = SweepPolicy::default().ack_retention;
    subject.clock.advance(retention.saturating_sub(SECOND));
    assert_eq!(subject.sweep().await, []);
    subject.clock.advance(Duration::from_secs(2));
    assert_eq!(subject.sweep().await, [swept(&upload, SweepReason::Acked)]);
    let found = subject.storage.get(workspace, upload.file_id).await;
    assert_error!(found, Error::NotFound);
    assert_eq!(subject.feed(workspace).await.len(), 1);
}

/// `SweepPolicy::ack_retention`: it is told with each sweep.
pub async fn a_retention_of_nothing_sweeps_acked_files_at_once(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let upload = subject.publish(workspace, b"hello").await;
    subject.ack(&upload).await;
    subject.clock.advance(Duration::from_micros(1));
    let policy = SweepPolicy {
        ack_retention: Duration::ZERO,
        ..SweepPolicy::default()
    };
    let files = sweep(&*subject.storage, &policy).await;
    assert_eq!(files, [swept(&upload, SweepReason::Acked)]);
}

/// `SweepPolicy`: what is to be kept for ever keeps nothing else from being swept.
pub async fn what_is_kept_for_ever_keeps_nothing_else(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let old = subject.publish(workspace, b"old").await;
    subject.clock.advance(subject.ttl / 2);
    let acked = subject.publish(workspace, b"acked").await;
    subject.ack(&acked).await;
    subject.clock.advance(subject.ttl / 2);
    let policy = SweepPolicy {
        ack_retention: Duration::MAX,
        staging_lease: Duration::MAX,
        feed_retention: Duration::MAX,
    };
    let files = sweep(&*subject.storage, &policy).await;
    assert_eq!(files, [swept(&old, SweepReason::Expired)]);
    let found = subject.storage.get(workspace, acked.file_id).await;
    assert!(found.unwrap().acked_at.is_some());
}

/// Invariant 7: a file that expired without an ack is swept, and the feed says so.
pub async fn an_expired_file_is_swept_and_the_feed_says_so(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let upload = subject.publish(workspace, &noise(MIB + 1, 1)).await;
    subject.clock.advance(subject.ttl);
    let expected = swept(&upload, SweepReason::Expired);
    assert_eq!(subject.sweep().await, slice::from_ref(&expected));
    let rows = subject.feed(workspace).await;
    assert_eq!(seqs(&rows), [1, 2]);
    assert_eq!(rows[1].content, NewActivity::expiry(&expected));
    assert_eq!(rows[1].content.status, ActivityStatus::Error);
    assert_eq!(rows[1].created_at, subject.now());
    assert_eq!(
        rows[1].content.activity_type,
        ActivityType::CHAT_UPLOAD_EXPIRED
    );
}

/// Invariant 7: a file that expired after its ack is swept without a word.
pub async fn a_file_acked_and_expired_is_swept_without_a_row(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let upload = subject.publish(workspace, b"hello").await;
    subject.clock.advance(subject.ttl.saturating_sub(SECOND));
    subject.ack(&upload).await;
    subject.clock.advance(SECOND);
    assert_eq!(subject.sweep().await, [swept(&upload, SweepReason::Acked)]);
    assert_eq!(subject.feed(workspace).await.len(), 1);
}

/// `Storage::sweep`: what is swept is gone from the counts, and nothing else is.
pub async fn a_sweep_leaves_what_still_waits(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let old = subject.publish(workspace, &noise(2 * MIB, 2)).await;
    subject.clock.advance(subject.ttl / 2);
    let young = subject.publish(workspace, &noise(2 * MIB, 3)).await;
    subject.clock.advance(subject.ttl / 2);
    assert_eq!(subject.sweep().await, [swept(&old, SweepReason::Expired)]);
    assert!(subject.bytes(&young).await == noise(2 * MIB, 3));
    let expected = Stats {
        waiting_files: 1,
        waiting_bytes: 2 * MIB as u64,
        oldest_waiting: Some(young.created_at),
        ..Stats::default()
    };
    assert_eq!(subject.storage.stats().await.unwrap(), expected);
}

/// `Storage::sweep`: step by step, in bounded steps, it comes to an end, and has each file once.
pub async fn many_files_are_swept_each_once(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let mut published = HashSet::new();
    let mut workspaces = Vec::new();
    for _ in 0..5 {
        let workspace = subject.workspace().await;
        published.extend(ids(&subject.publish_many(workspace, 64).await));
        workspaces.push(workspace);
    }
    subject.clock.advance(subject.ttl);
    let files = subject.sweep().await;
    let swept: HashSet<_> = files.iter().map(|file| file.file_id).collect();
    assert_eq!(files.len(), published.len());
    assert_eq!(swept, published);
    for workspace in workspaces {
        assert_eq!(seqs(&subject.feed(workspace).await), dense(128));
    }
    let stats = subject.storage.stats().await.unwrap();
    assert_eq!(stats, Stats::default());
}

/// `Storage::stats`: counts what waits, what is left to sweep, and since when the oldest waits.
pub async fn stats_count_what_is_stored(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let empty = subject.storage.stats().await.unwrap();
    assert_eq!(empty, Stats::default());
    let workspaces = [subject.workspace().await, subject.workspace().await];
    subject.publish(workspaces[0], &noise(10, 1)).await;
    subject.clock.advance(subject.ttl / 2);
    let acked = subject.publish(workspaces[0], &noise(200, 2)).await;
    let oldest = subject.publish(workspaces[1], &noise(3000, 3)).await;
    subject.clock.advance(subject.ttl / 2);
    subject.publish(workspaces[0], &noise(40_000, 4)).await;
    subject.ack(&acked).await;
    let expected = Stats {
        waiting_files: 2,
        waiting_bytes: 43_000,
        unswept_files: 2,
        unswept_bytes: 210,
        staged_files: 0,
        oldest_waiting: Some(oldest.created_at),
    };
    assert_eq!(subject.storage.stats().await.unwrap(), expected);
}
