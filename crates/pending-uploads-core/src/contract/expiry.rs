//! The end of a file's time: invariant 7 (hard TTL).

use std::time::Duration;

use super::support::*;
use super::{Fixture, Subject, Terms};
use crate::{Error, PendingUpload};

const INSTANT: Duration = Duration::from_micros(1);

/// A subject and a file whose time is over but for one microsecond.
async fn last_moment(fixture: &dyn Fixture) -> (Subject, PendingUpload) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let upload = subject.publish(workspace, b"hello").await;
    subject.clock.advance(subject.ttl.saturating_sub(INSTANT));
    (subject, upload)
}

/// Invariant 7: a file lives as long as the store was told, counted from its publication and not
/// from its first byte.
pub async fn a_files_time_begins_with_its_publication(fixture: &dyn Fixture) {
    let ttl = Duration::from_secs(90);
    let terms = Terms {
        ttl,
        ..Terms::default()
    };
    let subject = fixture.subject(terms).await;
    let workspace = subject.workspace().await;
    let mut batch = subject.batch(workspace).await;
    add_file(&mut *batch, "a", &noise(2 * MIB, 1)).await;
    subject.clock.advance(Duration::from_mins(10));
    let upload = batch.publish().await.unwrap().remove(0);
    assert_eq!(upload.expires_at, subject.now().saturating_add(ttl));
    subject.clock.advance(ttl.saturating_sub(INSTANT));
    assert_eq!(subject.waiting(workspace).await, [upload.file_id]);
}

/// Invariant 7: until the last microsecond a file is served, listed, found and acked.
pub async fn a_file_is_there_until_its_last_moment(fixture: &dyn Fixture) {
    let (subject, upload) = last_moment(fixture).await;
    let workspace = upload.workspace_id;
    assert_eq!(subject.bytes(&upload).await, b"hello");
    assert_eq!(subject.waiting(workspace).await, [upload.file_id]);
    assert_eq!(subject.ack(&upload).await.at(), subject.now());
}

/// Invariant 7: from `expires_at` on a file is not found, swept or not.
pub async fn an_expired_file_is_not_found(fixture: &dyn Fixture) {
    let (subject, upload) = last_moment(fixture).await;
    subject.clock.advance(INSTANT);
    assert_eq!(subject.now(), upload.expires_at);
    let found = subject.storage.get(upload.workspace_id, upload.file_id);
    assert_error!(found.await, Error::NotFound);
}

/// Invariant 7: from `expires_at` on a file is not served.
pub async fn an_expired_file_is_not_served(fixture: &dyn Fixture) {
    let (subject, upload) = last_moment(fixture).await;
    subject.clock.advance(INSTANT);
    let storage = &subject.storage;
    let read = storage.read(upload.workspace_id, upload.file_id, span(0, 5));
    assert_error!(read.await, Error::NotFound);
}

/// Invariant 7: from `expires_at` on a file is not listed.
pub async fn an_expired_file_is_not_listed(fixture: &dyn Fixture) {
    let (subject, upload) = last_moment(fixture).await;
    subject.clock.advance(INSTANT);
    assert_eq!(subject.waiting(upload.workspace_id).await, []);
}

/// Invariant 7: from `expires_at` on a file cannot be acked.
pub async fn an_expired_file_cannot_be_acked(fixture: &dyn Fixture) {
    let (subject, upload) = last_moment(fixture).await;
    subject.clock.advance(INSTANT);
    let acked = subject.storage.ack(upload.workspace_id, upload.file_id);
    assert_error!(acked.await, Error::NotFound);
}

/// Invariant 7: an ack does not lengthen a file's time.
pub async fn an_acked_file_expires_too(fixture: &dyn Fixture) {
    let (subject, upload) = last_moment(fixture).await;
    subject.ack(&upload).await;
    subject.clock.advance(INSTANT);
    let (workspace, file) = (upload.workspace_id, upload.file_id);
    assert_error!(subject.storage.get(workspace, file).await, Error::NotFound);
    assert_error!(subject.storage.ack(workspace, file).await, Error::NotFound);
}
