//! How much may wait for one workspace: invariant 12 (every limit is finite and names itself).

use super::support::*;
use super::{Fixture, Subject, Terms};
use crate::{Error, PendingUpload, Quota, QuotaRefusal, Result, StorageExt, WorkspaceId};

fn files(waiting_files: u32) -> Terms {
    Terms::with_quota(Quota {
        waiting_files,
        ..Quota::default()
    })
}

fn bytes_waiting(waiting_bytes: u64) -> Terms {
    Terms::with_quota(Quota {
        waiting_bytes,
        ..Quota::default()
    })
}

async fn try_publish(
    subject: &Subject,
    workspace: WorkspaceId,
    data: &[u8],
) -> Result<PendingUpload> {
    subject
        .storage
        .stage(workspace, named("a"), text_plain(), data)
        .await
}

/// `Quota::waiting_bytes`: exactly as many bytes may wait, and not one more.
pub async fn as_many_bytes_wait_as_the_quota_says(fixture: &dyn Fixture) {
    let subject = fixture.subject(bytes_waiting(1000)).await;
    let workspace = subject.workspace().await;
    try_publish(&subject, workspace, &noise(600, 1))
        .await
        .unwrap();
    try_publish(&subject, workspace, &noise(400, 2))
        .await
        .unwrap();
    assert_error!(
        try_publish(&subject, workspace, b"x").await,
        Error::QuotaExceeded(QuotaRefusal::WaitingBytes { max: 1000 })
    );
    assert_eq!(subject.waiting(workspace).await.len(), 2);
}

/// `Quota::waiting_bytes`: the files of one batch count together.
pub async fn the_bytes_of_one_batch_count_together(fixture: &dyn Fixture) {
    let subject = fixture.subject(bytes_waiting(1000)).await;
    let workspace = subject.workspace().await;
    let mut batch = subject.batch(workspace).await;
    add_file(&mut *batch, "a", &noise(600, 1)).await;
    add_file(&mut *batch, "b", &noise(401, 2)).await;
    assert_error!(
        batch.publish().await,
        Error::QuotaExceeded(QuotaRefusal::WaitingBytes { max: 1000 })
    );
    assert_eq!(subject.waiting(workspace).await, []);
}

/// `Quota::waiting_files`: exactly as many files may wait, and not one more.
pub async fn as_many_files_wait_as_the_quota_says(fixture: &dyn Fixture) {
    let subject = fixture.subject(files(3)).await;
    let workspace = subject.workspace().await;
    subject.publish_many(workspace, 2).await;
    subject.publish_many(workspace, 1).await;
    assert_error!(
        try_publish(&subject, workspace, b"x").await,
        Error::QuotaExceeded(QuotaRefusal::WaitingFiles { max: 3 })
    );
    assert_eq!(subject.waiting(workspace).await.len(), 3);
}

/// `Quota`: what waits for one workspace takes nothing from another.
pub async fn each_workspace_has_a_quota_of_its_own(fixture: &dyn Fixture) {
    let subject = fixture.subject(files(1)).await;
    for _ in 0..3 {
        let workspace = subject.workspace().await;
        subject.publish(workspace, b"x").await;
    }
}

/// `Quota`: an acked file does not wait any more.
pub async fn an_ack_makes_room(fixture: &dyn Fixture) {
    let subject = fixture.subject(files(1)).await;
    let workspace = subject.workspace().await;
    let first = subject.publish(workspace, b"first").await;
    subject.ack(&first).await;
    subject.publish(workspace, b"second").await;
    assert_error!(
        try_publish(&subject, workspace, b"third").await,
        Error::QuotaExceeded(_)
    );
}

/// `Quota`: an expired file does not wait any more, swept or not.
pub async fn an_expiry_makes_room(fixture: &dyn Fixture) {
    let subject = fixture.subject(files(1)).await;
    let workspace = subject.workspace().await;
    subject.publish(workspace, b"first").await;
    subject.clock.advance(subject.ttl);
    subject.publish(workspace, b"second").await;
    subject.sweep().await;
    assert_error!(
        try_publish(&subject, workspace, b"third").await,
        Error::QuotaExceeded(_)
    );
}

/// `Quota`: checked after every earlier publish of the workspace has committed, so that uploads in
/// parallel, on every instance, cannot overshoot it; and they use it up.
pub async fn publishes_at_once_never_overshoot_the_files(fixture: &dyn Fixture) {
    let subject = fixture.subject(files(10)).await;
    let workspace = subject.workspace().await;
    let published = publish_at_once(&subject, workspace, 32, 100).await;
    assert_eq!(published, 10);
    assert_eq!(subject.waiting(workspace).await.len(), 10);
    assert_eq!(seqs(&subject.feed(workspace).await), dense(10));
}

/// `Quota`: uploads in parallel cannot overshoot the bytes either, large or small.
pub async fn publishes_at_once_never_overshoot_the_bytes(fixture: &dyn Fixture) {
    let length = MIB + 100;
    let quota = 5 * length as u64 + 1;
    let subject = fixture.subject(bytes_waiting(quota)).await;
    let workspace = subject.workspace().await;
    let published = publish_at_once(&subject, workspace, 12, length).await;
    assert_eq!(published, 5);
    assert_eq!(subject.waiting(workspace).await.len(), 5);
}

/// Publishes `count` files of that length at once; answers how many were taken, the others having
/// been refused by the quota.
async fn publish_at_once(
    subject: &Subject,
    workspace: WorkspaceId,
    count: usize,
    length: usize,
) -> usize {
    let answers = at_once((0..count).map(|number| {
        let storage = subject.either(number).storage;
        async move {
            let data = noise(length, number as u64);
            let upload = storage.stage(workspace, named("a"), text_plain(), &data);
            upload.await.map(drop)
        }
    }))
    .await;
    answers
        .into_iter()
        .filter(|answer| match answer {
            Ok(()) => true,
            Err(Error::QuotaExceeded(_)) => false,
            Err(error) => panic!("{error:?}"),
        })
        .count()
}
