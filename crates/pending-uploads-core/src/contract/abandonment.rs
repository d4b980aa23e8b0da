//! Batches that fall silent, and the lease of what they have staged: invariant 1.

use std::time::Duration;

use super::support::*;
use super::{Fixture, Subject, Terms};
use crate::{Batch, Error, FileId, Result, SweepPolicy, SweepReason, SweptFile, WorkspaceId};

/// A batch that has staged more than it would keep to itself, and its open file.
async fn staged(subject: &Subject, workspace: WorkspaceId) -> (Box<dyn Batch>, FileId) {
    let mut batch = subject.batch(workspace).await;
    let file = batch.start_file(named("a"), text_plain()).await.unwrap();
    batch.write(&noise(3 * MIB, 1)).await.unwrap();
    (batch, file)
}

/// Sweeps until nothing is staged. The batch may have something on its way still, which a step of
/// the sweep passes by.
async fn sweep_all(subject: &Subject) -> Vec<SweptFile> {
    let mut files = Vec::new();
    until("nothing is staged", async || {
        files.extend(subject.sweep().await);
        subject.storage.stats().await.unwrap().staged_files == 0
    })
    .await;
    files
}

async fn finish(mut batch: Box<dyn Batch>) -> Result<()> {
    batch.finish_file().await?;
    batch.publish().await.map(drop)
}

/// `Stats::staged_files`: what a batch has staged is counted, and its publish ends that.
pub async fn what_is_staged_is_counted(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let (batch, _) = staged(&subject, workspace).await;
    let stats = subject.storage.stats().await.unwrap();
    assert_eq!((stats.staged_files, stats.waiting_files), (1, 0));
    finish(batch).await.unwrap();
    let stats = subject.storage.stats().await.unwrap();
    assert_eq!((stats.staged_files, stats.waiting_files), (0, 1));
}

/// `Batch`: the bytes of a batch that was dropped are gone when its lease is over, at the latest.
pub async fn a_dropped_batch_leaves_no_bytes(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    drop(staged(&subject, workspace).await);
    subject.let_leases_run_out();
    subject.nothing_stays_staged().await;
}

/// `SweepPolicy::staging_lease`: a batch that was silent for longer is swept.
pub async fn a_silent_batch_is_swept(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let (batch, file_id) = staged(&subject, workspace).await;
    subject.let_leases_run_out();
    let files = sweep_all(&subject).await;
    assert_eq!(files.len(), 1);
    let swept = &files[0];
    assert_eq!(swept.file_id, file_id);
    assert_eq!(swept.workspace_id, workspace);
    assert_eq!(swept.reason, SweepReason::Abandoned);
    assert_eq!(swept.filename, None);
    let stored = MIB as u64..=3 * MIB as u64;
    assert!(stored.contains(&swept.size_bytes), "{}", swept.size_bytes);
    drop(batch);
}

/// Invariant 1: a batch that was swept cannot be published, and nothing of it is visible.
pub async fn a_swept_batch_cannot_publish(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let (batch, file_id) = staged(&subject, workspace).await;
    subject.let_leases_run_out();
    sweep_all(&subject).await;
    assert_error!(finish(batch).await, Error::BatchAbandoned);
    assert_eq!(subject.waiting(workspace).await, []);
    assert_eq!(subject.feed(workspace).await, []);
    let found = subject.storage.get(workspace, file_id).await;
    assert_error!(found, Error::NotFound);
}

/// Invariant 1: of a batch whose first file was swept, its later files are not visible either, and
/// none of its bytes come back.
pub async fn a_swept_batch_that_goes_on_is_refused(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let (batch, _) = staged(&subject, workspace).await;
    subject.let_leases_run_out();
    sweep_all(&subject).await;
    assert_error!(go_on(batch).await, Error::BatchAbandoned);
    assert_eq!(subject.waiting(workspace).await, []);
    subject.let_leases_run_out();
    subject.nothing_stays_staged().await;
}

async fn go_on(mut batch: Box<dyn Batch>) -> Result<()> {
    batch.write(&noise(2 * MIB, 2)).await?;
    batch.finish_file().await?;
    batch.start_file(named("b"), text_plain()).await?;
    batch.write(&noise(2 * MIB, 3)).await?;
    finish(batch).await
}

/// `SweepPolicy::staging_lease`: until the lease is over a silent batch is left alone.
pub async fn a_batch_that_pauses_within_its_lease_is_not_swept(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let (batch, _) = staged(&subject, workspace).await;
    let lease = SweepPolicy::default().staging_lease;
    subject
        .clock
        .advance(lease.saturating_sub(Duration::from_secs(1)));
    assert_eq!(subject.sweep().await, []);
    finish(batch).await.unwrap();
    assert_eq!(subject.waiting(workspace).await.len(), 1);
}

/// `SweepPolicy::staging_lease`: it is counted from the last bytes, not from the first.
pub async fn bytes_that_arrive_renew_the_lease(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let (mut batch, _) = staged(&subject, workspace).await;
    let most_of_it = SweepPolicy::default().staging_lease * 3 / 4;
    for seed in 0..3 {
        subject.clock.advance(most_of_it);
        assert_eq!(subject.sweep().await, []);
        batch.write(&noise(2 * MIB, seed)).await.unwrap();
    }
    finish(batch).await.unwrap();
    assert_eq!(subject.waiting(workspace).await.len(), 1);
}

/// `Batch::show_life`: it renews the lease, after a file and in one.
pub async fn signs_of_life_renew_the_lease(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let (mut batch, _) = staged(&subject, workspace).await;
    batch.finish_file().await.unwrap();
    let most_of_it = SweepPolicy::default().staging_lease * 3 / 4;
    for _ in 0..3 {
        batch.show_life().await.unwrap();
        subject.clock.advance(most_of_it);
        assert_eq!(subject.sweep().await, []);
    }
    batch.start_file(named("b"), text_plain()).await.unwrap();
    batch.show_life().await.unwrap();
    subject.clock.advance(most_of_it);
    assert_eq!(subject.sweep().await, []);
    batch.write(b"b").await.unwrap();
    finish(batch).await.unwrap();
    assert_eq!(subject.waiting(workspace).await.len(), 2);
}

/// `Batch::show_life`: it does not bring back what was swept.
pub async fn a_swept_batch_shows_no_life(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let (mut batch, _) = staged(&subject, workspace).await;
    subject.let_leases_run_out();
    sweep_all(&subject).await;
    assert_error!(batch.show_life().await, Error::BatchAbandoned);
    subject.let_leases_run_out();
    subject.nothing_stays_staged().await;
}

/// `Storage::sweep`: a batch that others have published is no abandoned one.
pub async fn a_published_batch_is_never_abandoned(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let (batch, file_id) = staged(&subject, workspace).await;
    finish(batch).await.unwrap();
    subject.let_leases_run_out();
    assert_eq!(subject.sweep().await, []);
    assert_eq!(subject.waiting(workspace).await, [file_id]);
}

/// `Quota`: bytes that are only staged do not count as waiting.
pub async fn what_is_staged_does_not_wait(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let (_batch, _) = staged(&subject, workspace).await;
    let stats = subject.storage.stats().await.unwrap();
    assert_eq!((stats.waiting_files, stats.waiting_bytes), (0, 0));
    assert_eq!((stats.unswept_files, stats.unswept_bytes), (0, 0));
    assert_eq!(stats.oldest_waiting, None);
}
