//! What one workspace can learn of another's files: nothing. Invariant 4 (isolation).

use std::fmt::Debug;

use super::support::*;
use super::{Fixture, Subject, Terms};
use crate::{Error, FileId, ListAfter, PendingUpload, Result, WorkspaceId};

/// A file of one workspace, and another workspace that has a file of its own.
async fn a_file_and_a_stranger(fixture: &dyn Fixture) -> (Subject, PendingUpload, WorkspaceId) {
    let subject = fixture.subject(Terms::default()).await;
    let owner = subject.workspace().await;
    let upload = subject.publish(owner, b"secret").await;
    let stranger = subject.workspace().await;
    subject.publish(stranger, b"own").await;
    (subject, upload, stranger)
}

/// Two refusals that nobody can tell apart.
fn assert_alike<T: Debug>(not_yours: &Result<T>, not_there: &Result<T>) {
    assert!(matches!(not_yours, Err(Error::NotFound)), "{not_yours:?}");
    assert_eq!(format!("{not_yours:?}"), format!("{not_there:?}"));
}

/// Invariant 4: another's file is looked up as one that is not there.
pub async fn a_stranger_cannot_look_a_file_up(fixture: &dyn Fixture) {
    let (subject, upload, stranger) = a_file_and_a_stranger(fixture).await;
    let storage = &subject.storage;
    let not_yours = storage.get(stranger, upload.file_id).await;
    let not_there = storage.get(stranger, FileId::generate()).await;
    assert_alike(&not_yours, &not_there);
}

/// Invariant 4: another's file is read as one that is not there, whatever the range, so that
/// nobody can measure it.
pub async fn a_stranger_cannot_read_a_file(fixture: &dyn Fixture) {
    let (subject, upload, stranger) = a_file_and_a_stranger(fixture).await;
    let storage = &subject.storage;
    for range in [span(0, 6), span(0, 1), span(6, 7), span(0, u64::MAX)] {
        let not_yours = storage.read(stranger, upload.file_id, range).await;
        let not_there = storage.read(stranger, FileId::generate(), range).await;
        assert_alike(&not_yours.map(drop), &not_there.map(drop));
    }
}

/// Invariant 4: another's file cannot be acked, and waits on.
pub async fn a_stranger_cannot_ack_a_file(fixture: &dyn Fixture) {
    let (subject, upload, stranger) = a_file_and_a_stranger(fixture).await;
    let storage = &subject.storage;
    let not_yours = storage.ack(stranger, upload.file_id).await;
    let not_there = storage.ack(stranger, FileId::generate()).await;
    assert_alike(&not_yours, &not_there);
    assert_eq!(subject.bytes(&upload).await, b"secret");
}

/// Invariant 4: an acked file is not there for a stranger either.
pub async fn a_stranger_cannot_detect_an_acked_file(fixture: &dyn Fixture) {
    let (subject, upload, stranger) = a_file_and_a_stranger(fixture).await;
    subject.ack(&upload).await;
    let storage = &subject.storage;
    let not_yours = storage.ack(stranger, upload.file_id).await;
    let not_there = storage.ack(stranger, FileId::generate()).await;
    assert_alike(&not_yours, &not_there);
}

/// Invariant 4: a stranger cannot stamp another's file as fetched, and is told nothing.
pub async fn a_stranger_cannot_mark_a_file_fetched(fixture: &dyn Fixture) {
    let (subject, upload, stranger) = a_file_and_a_stranger(fixture).await;
    let storage = &subject.storage;
    let marked = storage.mark_fetched(stranger, upload.file_id).await;
    marked.unwrap();
    let found = storage.get(upload.workspace_id, upload.file_id).await;
    assert_eq!(found.unwrap(), upload);
}

/// Invariant 4: a list holds a workspace's own files alone, wherever its page begins.
pub async fn a_list_holds_ones_own_files_alone(fixture: &dyn Fixture) {
    let (subject, upload, stranger) = a_file_and_a_stranger(fixture).await;
    let listed = subject.storage.list(stranger, None, 10).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].workspace_id, stranger);
    let after = Some(ListAfter::from(&upload));
    let listed = subject.storage.list(stranger, after, 10).await.unwrap();
    assert!(listed.iter().all(|file| file.workspace_id == stranger));
}

/// Invariant 4: a feed holds a workspace's own rows alone, numbered by themselves.
pub async fn a_feed_holds_ones_own_rows_alone(fixture: &dyn Fixture) {
    let (subject, upload, stranger) = a_file_and_a_stranger(fixture).await;
    for workspace in [stranger, upload.workspace_id] {
        let rows = subject.feed(workspace).await;
        assert_eq!(seqs(&rows), [1]);
        assert_eq!(rows[0].workspace_id, workspace);
    }
}

/// Invariant 4: from its oldest row on, a feed holds a workspace's own rows alone.
pub async fn the_oldest_rows_are_ones_own_alone(fixture: &dyn Fixture) {
    let (subject, upload, stranger) = a_file_and_a_stranger(fixture).await;
    subject.cursor(upload.workspace_id).await;
    let rows = subject.activity.list(stranger, &oldest()).await.unwrap();
    assert_eq!(seqs(&rows), [1]);
    assert_eq!(rows[0].workspace_id, stranger);
    let newcomer = subject.workspace().await;
    let rows = subject.activity.list(newcomer, &oldest()).await.unwrap();
    assert_eq!(rows, []);
}

/// Invariant 4: a cursor of another workspace is gone, as one that never was.
pub async fn a_cursor_of_another_workspace_is_gone(fixture: &dyn Fixture) {
    let (subject, upload, stranger) = a_file_and_a_stranger(fixture).await;
    let cursor = subject.cursor(upload.workspace_id).await;
    let listed = subject.activity.list(stranger, &after(cursor)).await;
    assert_error!(listed, Error::CursorGone);
    let query = after(cursor);
    let waited = subject.activity.wait(stranger, &query, PATIENCE).await;
    assert_error!(waited, Error::CursorGone);
}

/// Invariant 4: another workspace's rows end no wait.
pub async fn a_row_of_another_workspace_wakes_nobody(fixture: &dyn Fixture) {
    let (subject, upload, stranger) = a_file_and_a_stranger(fixture).await;
    let cursor = subject.cursor(stranger).await;
    let newcomer = subject.workspace().await;
    let waiting = [(stranger, after(cursor)), (newcomer, oldest())].map(|(workspace, query)| {
        let activity = subject.either(0).activity;
        tokio::spawn(async move { activity.wait(workspace, &query, PATIENCE).await })
    });
    for _ in 0..5 {
        subject.cursor(upload.workspace_id).await;
    }
    for (workspace, waiting) in [stranger, newcomer].into_iter().zip(waiting) {
        let own = subject.cursor(workspace).await;
        let rows = waiting.await.unwrap().unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].id, own);
    }
}

/// Invariant 4: the sweep of one workspace's file is told in its own feed alone.
pub async fn an_expiry_is_told_to_its_own_workspace_alone(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let owner = subject.workspace().await;
    subject.publish(owner, b"secret").await;
    subject.clock.advance(subject.ttl / 2);
    let other = subject.workspace().await;
    let young = subject.publish(other, b"young").await;
    subject.clock.advance(subject.ttl / 2);
    subject.sweep().await;
    assert_eq!(subject.feed(owner).await.len(), 2);
    assert_eq!(subject.feed(other).await.len(), 1);
    assert_eq!(subject.waiting(other).await, [young.file_id]);
}
