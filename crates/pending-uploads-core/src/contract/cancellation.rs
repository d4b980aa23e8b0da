//! What is left when a future is dropped before it is done: invariant 1 (all or nothing), and a store
//! that works on.

use std::pin::pin;
use std::time::Duration;

use futures_util::{FutureExt, TryStreamExt};

use super::support::*;
use super::{Fixture, Subject, Terms};
use crate::{BatchMisuse, Error, Registrar, Registration, SweepPolicy, WorkspaceId};

/// How often a call is cut off, each time a little later.
const CUTS: u32 = 20;

/// Lets a future run a little, the longer the higher the number, and drops it.
async fn cut_off<T>(number: u32, future: impl Future<Output = T>) -> Option<T> {
    run_a_little(number, &mut pin!(future)).await
}

/// Invariant 1: whatever a dropped `publish` had reached, all of the batch is there or nothing, and
/// the feed has no gap.
pub async fn a_publish_that_is_dropped_leaves_all_or_nothing(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    for number in 0..CUTS {
        let workspace = subject.workspace().await;
        let mut batch = subject.batch(workspace).await;
        add_file(&mut *batch, "a", &noise(MIB + 9, 8)).await;
        add_file(&mut *batch, "b", b"small").await;
        if let Some(published) = cut_off(number, batch.publish()).await {
            published.unwrap();
        }
        assert_all_or_nothing(&subject, workspace, 2).await;
    }
}

/// Invariant 1: a small batch, which a store may publish at one stroke, is no exception.
pub async fn a_small_publish_that_is_dropped_leaves_all_or_nothing(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    for number in 0..CUTS {
        let workspace = subject.workspace().await;
        let mut batch = subject.batch(workspace).await;
        for name in ["a", "b", "c"] {
            add_file(&mut *batch, name, b"small").await;
        }
        if let Some(published) = cut_off(number, batch.publish()).await {
            published.unwrap();
        }
        assert_all_or_nothing(&subject, workspace, 3).await;
    }
}

/// A publish whose future was dropped may still be on its way: looks until two looks at the feed
/// agree, and then the files must agree with them.
async fn assert_all_or_nothing(subject: &Subject, workspace: WorkspaceId, files: usize) {
    until("two looks at the feed agree", async || {
        let before = subject.feed(workspace).await;
        let waiting = subject.waiting(workspace).await;
        if subject.feed(workspace).await != before {
            return false;
        }
        assert_eq!(waiting.len(), before.len());
        assert!(waiting.is_empty() || waiting.len() == files);
        assert_eq!(seqs(&before), dense(before.len()));
        true
    })
    .await;
}

/// `Batch`: when the future of a `write` was dropped, nobody knows what has been stored, so the
/// batch is broken.
pub async fn a_batch_whose_write_was_dropped_is_broken(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let mut batch = subject.batch(workspace).await;
    batch.start_file(named("a"), text_plain()).await.unwrap();
    if let Some(written) = batch.write(&noise(3 * MIB, 12)).now_or_never() {
        // A store that is done at the first poll has nothing half-way that could be dropped.
        return written.unwrap();
    }
    assert_error!(
        batch.write(b"more").await,
        Error::BatchMisused(BatchMisuse::Broken)
    );
    assert_error!(
        batch.publish().await,
        Error::BatchMisused(BatchMisuse::Broken)
    );
    assert_eq!(subject.waiting(workspace).await, []);
}

/// `Storage::ack`: a dropped ack leaves the file acked or not, and the next one says which.
pub async fn an_ack_that_is_dropped_leaves_the_file_acked_or_not(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    for number in 0..CUTS {
        let upload = subject.publish(workspace, b"hello").await;
        cut_off(number, subject.storage.ack(workspace, upload.file_id)).await;
        let at = subject.ack(&upload).await.at();
        subject.clock.advance(Duration::from_secs(1));
        assert_eq!(subject.ack(&upload).await.at(), at);
        assert_eq!(subject.waiting(workspace).await, []);
    }
}

/// `ActivityLog::append`: a dropped append leaves the row or not, and never a gap (invariant 2).
pub async fn an_append_that_is_dropped_leaves_no_gap(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    for number in 0..CUTS {
        let append = subject.activity.append(workspace, message(workspace, 1));
        cut_off(number, append).await;
        subject.cursor(workspace).await;
    }
    let rows = subject.feed(workspace).await;
    assert!(rows.len() >= CUTS as usize);
    assert_eq!(seqs(&rows), dense(rows.len()));
}

/// `Storage` and the others: calls that are dropped at any moment disturb none of those that come
/// after them.
pub async fn calls_that_are_dropped_disturb_nobody(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let data = noise(2 * MIB + 1, 13);
    let upload = subject.publish(workspace, &data).await;
    for number in 0..CUTS {
        drop_one_of_each(&subject, number, &upload).await;
    }
    assert!(subject.bytes(&upload).await == data);
    assert_eq!(subject.waiting(workspace).await, [upload.file_id]);
    assert_eq!(seqs(&subject.feed(workspace).await), [1]);
    let another = subject.publish(workspace, &data).await;
    assert!(subject.bytes(&another).await == data);
    subject.ack(&another).await;
}

async fn drop_one_of_each(subject: &Subject, number: u32, upload: &crate::PendingUpload) {
    let (workspace, file) = (upload.workspace_id, upload.file_id);
    let storage = &subject.storage;
    let whole = upload.whole().unwrap();
    cut_off(number, storage.get(workspace, file)).await;
    cut_off(number, storage.list(workspace, None, 10)).await;
    cut_off(number, storage.mark_fetched(workspace, file)).await;
    cut_off(number, storage.sweep(&SweepPolicy::default())).await;
    cut_off(number, storage.stats()).await;
    cut_off(number, async {
        collected(storage.read(workspace, file, whole).await?).await
    })
    .await;
    let query = newest();
    cut_off(number, subject.activity.list(workspace, &query)).await;
    cut_off(number, subject.activity.prune(upload.created_at)).await;
    let fresh = Registration::polling(WorkspaceId::generate());
    let register = subject.workspaces.register(fresh, Registrar::Anonymous);
    cut_off(number, register).await;
    cut_off(number, subject.workspaces.get(workspace)).await;
}

/// `Storage::read`: dropping a stream half-way leaves nothing that others would wait for.
pub async fn streams_that_are_dropped_disturb_nobody(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let data = noise(5 * MIB, 14);
    let upload = subject.publish(workspace, &data).await;
    for pieces in 0..30 {
        let whole = upload.whole().unwrap();
        let read = subject.storage.read(workspace, upload.file_id, whole);
        let mut stream = read.await.unwrap();
        for _ in 0..pieces % 4 {
            stream.try_next().await.unwrap();
        }
        cut_off(pieces % 5, stream.try_next()).await;
    }
    assert!(subject.bytes(&upload).await == data);
}
