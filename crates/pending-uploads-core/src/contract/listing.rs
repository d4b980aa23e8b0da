//! What a workspace has still to take: invariant 10 (state, not cursor, is the truth).

use std::time::Duration;

use super::support::*;
use super::{Fixture, Subject, Terms};
use crate::{ListAfter, PendingUpload, WorkspaceId};

/// Reads page after page.
async fn pages(subject: &Subject, workspace: WorkspaceId, limit: u32) -> Vec<Vec<PendingUpload>> {
    let mut pages = Vec::new();
    let mut after = None;
    while pages.len() < 100 {
        let storage = &subject.storage;
        let page = storage.list(workspace, after, limit).await.unwrap();
        after = page.last().map(ListAfter::from);
        let is_last = page.len() < limit as usize;
        pages.push(page);
        if is_last {
            return pages;
        }
    }
    panic!("the pages come to no end");
}

/// Invariant 10: whatever of the feed was read or pruned, the list has every file that is still to
/// be taken, and no other.
pub async fn the_list_is_what_is_still_to_be_taken(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let expiring = subject.publish(workspace, b"expires").await;
    subject.clock.advance(subject.ttl / 2);
    let acked = subject.publish(workspace, b"acked").await;
    let kept = subject.publish(workspace, b"kept").await;
    subject.ack(&acked).await;
    assert_eq!(
        subject.waiting(workspace).await,
        [expiring.file_id, kept.file_id]
    );
    subject.clock.advance(subject.ttl / 2);
    let pruned = subject.activity.prune(subject.now()).await.unwrap();
    assert_eq!(pruned, 2);
    assert_eq!(subject.waiting(workspace).await, [kept.file_id]);
}

/// `Storage::list`: a record in the list is the record that `get` answers.
pub async fn the_list_has_whole_records(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let published = subject.publish_many(workspace, 3).await;
    let listed = subject.storage.list(workspace, None, 10).await.unwrap();
    assert_eq!(listed, published);
}

/// `Storage::list`: oldest first, by the time of publication.
pub async fn the_list_is_oldest_first(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let mut early = subject.batch(workspace).await;
    add_file(&mut *early, "started first", b"1").await;
    let mut published = vec![subject.publish(workspace, b"2").await];
    subject.clock.advance(Duration::from_secs(1));
    published.push(subject.publish(workspace, b"3").await);
    subject.clock.advance(Duration::from_secs(1));
    published.extend(early.publish().await.unwrap());
    assert_eq!(subject.waiting(workspace).await, ids(&published));
}

/// `Storage::list`: the files of one moment come by their ids.
pub async fn files_of_one_moment_are_listed_by_id(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let mut batches = Vec::new();
    for number in 0..4 {
        let storage = subject.either(number).storage;
        let mut batch = storage.begin(workspace).await.unwrap();
        add_file(&mut *batch, "a", b"a").await;
        add_file(&mut *batch, "b", b"b").await;
        batches.push(batch);
    }
    for batch in batches.into_iter().rev() {
        batch.publish().await.unwrap();
    }
    let listed = subject.waiting(workspace).await;
    assert_eq!(listed.len(), 8);
    assert!(listed.is_sorted());
}

/// `Storage::list`: pages put together are the whole list, whatever their size.
pub async fn pages_put_together_are_the_whole_list(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let mut published = subject.publish_many(workspace, 5).await;
    subject.clock.advance(Duration::from_micros(1));
    published.extend(subject.publish_many(workspace, 4).await);
    for limit in [1, 2, 3, 5, 9, 10] {
        let pages = pages(&subject, workspace, limit).await;
        assert!(pages.iter().all(|page| page.len() <= limit as usize));
        assert_eq!(ids(pages.iter().flatten()), ids(&published), "by {limit}");
    }
}

/// `Storage::list`: a page begins after a record, not after a number of them, so that acks between
/// two pages skip nothing.
pub async fn acks_between_two_pages_skip_nothing(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let published = subject.publish_many(workspace, 6).await;
    let storage = &subject.storage;
    let first = storage.list(workspace, None, 3).await.unwrap();
    for upload in &first {
        subject.ack(upload).await;
    }
    let after = first.last().map(ListAfter::from);
    let second = storage.list(workspace, after, 3).await.unwrap();
    assert_eq!(ids(&second), ids(&published[3..]));
}

/// `Storage::list`: an unknown workspace has an empty list.
pub async fn an_unknown_workspace_has_an_empty_list(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let id = WorkspaceId::generate();
    let listed = subject.storage.list(id, None, 10).await.unwrap();
    assert_eq!(listed, []);
}

/// `Storage::list`: reading a file takes nothing from the list.
pub async fn a_fetched_file_stays_in_the_list(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let upload = subject.publish(workspace, b"x").await;
    subject.bytes(&upload).await;
    let marked = subject.storage.mark_fetched(workspace, upload.file_id);
    marked.await.unwrap();
    assert_eq!(subject.waiting(workspace).await, [upload.file_id]);
}
