//! Waiting for a row of the feed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, Either, select};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::support::*;
use super::{Fixture, Instance, Terms};
use crate::{Activity, ActivityQuery, ActivityType, FeedStart, WorkspaceId};

/// So short that it is over at once: nothing is there, and nothing comes.
const NO_PATIENCE: Duration = Duration::from_millis(1);

/// Far longer than any hint may be late.
const WAKE_UP: Duration = Duration::from_secs(40);

/// A reader who waits until it is woken, and panics when nobody wakes it.
fn reader(
    instance: &Instance,
    workspace: WorkspaceId,
    query: ActivityQuery,
) -> BoxFuture<'static, Vec<Activity>> {
    let activity = Arc::clone(&instance.activity);
    Box::pin(async move {
        let rows = timeout(WAKE_UP, activity.wait(workspace, &query, PATIENCE)).await;
        assert!(rows.is_ok(), "nobody woke the reader");
        rows.unwrap().unwrap()
    })
}

/// A reader in a task of its own, who has begun to wait: a few looks of our own, which take what
/// one of the reader's takes, go beside its first steps.
async fn waiter(
    instance: Instance,
    workspace: WorkspaceId,
    query: ActivityQuery,
) -> JoinHandle<Vec<Activity>> {
    let reader = reader(&instance, workspace, query);
    let looks = Box::pin(async {
        for _ in 0..3 {
            let query = newest();
            instance.activity.list(workspace, &query).await.unwrap();
        }
    });
    match select(reader, looks).await {
        Either::Left((rows, _)) => panic!("the reader did not wait: {rows:?}"),
        Either::Right(((), reader)) => tokio::spawn(reader),
    }
}

fn of_type(activity_type: ActivityType, start: FeedStart) -> ActivityQuery {
    ActivityQuery {
        activity_type: Some(activity_type),
        ..ActivityQuery::from_start(start)
    }
}

/// `ActivityLog::wait`: answers at once when there is something.
pub async fn a_reader_does_not_wait_for_what_is_there(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let cursor = subject.cursor(workspace).await;
    let row = subject.activity.append(workspace, message(workspace, 1));
    let row = row.await.unwrap();
    let query = after(cursor);
    let rows = subject.activity.wait(workspace, &query, Duration::ZERO);
    assert_eq!(rows.await.unwrap(), [row]);
}

/// `ActivityLog::wait`: a message wakes the reader, on whichever instance it is written.
pub async fn a_message_wakes_a_waiting_reader(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let mut cursor = subject.cursor(workspace).await;
    for number in 0..4 {
        let (reader, writer) = (subject.either(number / 2), subject.either(number));
        let waiting = waiter(reader, workspace, after(cursor)).await;
        let row = writer.activity.append(workspace, message(workspace, 1));
        let row = row.await.unwrap();
        cursor = row.id;
        assert_eq!(waiting.await.unwrap(), [row], "the pair {number}");
    }
}

/// `FeedStart::Oldest`: who waits for an empty feed is woken by its first row, on whichever
/// instance it is written.
pub async fn the_first_row_wakes_a_reader_of_an_empty_feed(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    for number in 0..4 {
        let workspace = subject.workspace().await;
        let (reader, writer) = (subject.either(number / 2), subject.either(number));
        let waiting = waiter(reader, workspace, oldest()).await;
        let row = writer.activity.append(workspace, message(workspace, 1));
        let row = row.await.unwrap();
        assert_eq!(waiting.await.unwrap(), [row], "the pair {number}");
    }
}

/// `FeedStart::Oldest`: the first row of a feed is no reason to answer who waits for another type.
pub async fn the_first_row_that_matches_wakes_a_reader_of_the_oldest(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let query = of_type(remark_type(), FeedStart::Oldest);
    let waiting = waiter(subject.either(0), workspace, query).await;
    subject.publish_many(workspace, 2).await;
    let row = subject.activity.append(workspace, remark(workspace));
    let row = row.await.unwrap();
    assert_eq!(waiting.await.unwrap(), [row]);
}

/// `FeedStart::Oldest`: answers at once when there is something, and an empty list when the
/// patience is over.
pub async fn a_reader_of_the_oldest_waits_only_for_a_first_row(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let query = oldest();
    let rows = subject.activity.wait(workspace, &query, NO_PATIENCE);
    assert_eq!(rows.await.unwrap(), []);
    subject.publish_many(workspace, 2).await;
    let rows = subject.activity.wait(workspace, &query, Duration::ZERO);
    assert_eq!(seqs(&rows.await.unwrap()), [1, 2]);
}

/// `ActivityLog::wait`: a published file wakes the reader, on whichever instance it was uploaded.
pub async fn a_published_file_wakes_a_waiting_reader(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let mut cursor = subject.cursor(workspace).await;
    for number in 0..2 {
        let waiting = waiter(subject.either(0), workspace, after(cursor)).await;
        let storage = subject.either(number).storage;
        let upload = publish(&*storage, workspace, b"hello").await;
        let rows = waiting.await.unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(file_of(&rows[0]), Some(upload.file_id));
        cursor = rows[0].id;
    }
}

/// `ActivityLog::wait`: the row that says that a file expired wakes the reader.
pub async fn an_expiry_wakes_a_waiting_reader(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let upload = subject.publish(workspace, b"hello").await;
    let cursor = subject.cursor(workspace).await;
    let waiting = waiter(subject.either(0), workspace, after(cursor)).await;
    subject.clock.advance(subject.ttl);
    subject.sweep().await;
    let rows = waiting.await.unwrap();
    assert_eq!(file_of(&rows[0]), Some(upload.file_id));
}

/// `ActivityLog::wait`: one row wakes every reader of its feed.
pub async fn one_row_wakes_every_reader(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let cursor = subject.cursor(workspace).await;
    let mut waiting = Vec::new();
    for number in 0..30 {
        waiting.push(waiter(subject.either(number), workspace, after(cursor)).await);
    }
    let row = subject.activity.append(workspace, message(workspace, 1));
    let row = row.await.unwrap();
    for reader in waiting {
        assert_eq!(reader.await.unwrap(), std::slice::from_ref(&row));
    }
}

/// `ActivityLog::wait`: a row that does not match is no reason to answer; one that does is.
pub async fn a_row_that_does_not_match_lets_a_reader_wait_on(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let cursor = subject.cursor(workspace).await;
    let query = of_type(remark_type(), FeedStart::After(cursor));
    let waiting = waiter(subject.either(0), workspace, query).await;
    for number in 0..3 {
        let other = message(workspace, number);
        subject.activity.append(workspace, other).await.unwrap();
    }
    let row = subject.activity.append(workspace, remark(workspace));
    let row = row.await.unwrap();
    assert_eq!(waiting.await.unwrap(), [row]);
}

/// `ActivityLog::wait`: an empty list when the patience is over, whatever else was written.
pub async fn a_reader_answers_an_empty_list_when_its_patience_is_over(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let cursor = subject.cursor(workspace).await;
    let other = subject.workspace().await;
    subject.cursor(other).await;
    let query = after(cursor);
    let rows = subject.activity.wait(workspace, &query, NO_PATIENCE);
    assert_eq!(rows.await.unwrap(), []);
    subject.cursor(workspace).await;
    let query = of_type(remark_type(), FeedStart::After(cursor));
    let rows = subject.activity.wait(workspace, &query, NO_PATIENCE);
    assert_eq!(rows.await.unwrap(), []);
}

/// `ActivityLog::wait`: from the newest row back it does not wait.
pub async fn a_reader_of_the_newest_does_not_wait(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let (query, for_ever) = (newest(), Duration::from_hours(24));
    let rows = subject.activity.wait(workspace, &query, for_ever);
    assert_eq!(rows.await.unwrap(), []);
    subject.cursor(workspace).await;
    let rows = subject.activity.wait(workspace, &query, for_ever);
    assert_eq!(seqs(&rows.await.unwrap()), [1]);
}

/// `ActivityLog::wait`: who stops waiting leaves nothing behind that would disturb others.
pub async fn a_reader_that_goes_away_leaves_the_others(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let cursor = subject.cursor(workspace).await;
    let leaving = waiter(subject.either(0), workspace, after(cursor)).await;
    let staying = waiter(subject.either(0), workspace, after(cursor)).await;
    leaving.abort();
    assert!(leaving.await.unwrap_err().is_cancelled());
    let row = subject.activity.append(workspace, message(workspace, 1));
    let row = row.await.unwrap();
    assert_eq!(staying.await.unwrap(), [row]);
}

/// Invariant 6: readers that wait hold nothing that others need.
pub async fn readers_that_wait_keep_nobody_waiting(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let cursor = subject.cursor(workspace).await;
    let mut waiting = Vec::new();
    for _ in 0..100 {
        waiting.push(waiter(subject.either(0), workspace, after(cursor)).await);
    }
    let other = subject.workspace().await;
    let upload = subject.publish(other, b"another").await;
    assert_eq!(subject.bytes(&upload).await, b"another");
    subject.ack(&upload).await;
    subject.cursor(workspace).await;
    for reader in waiting {
        assert_eq!(reader.await.unwrap().len(), 1);
    }
}

/// Invariant 2: a reader and a writer who answer each other never miss one another, however close
/// the row comes to the reader's look.
pub async fn a_reader_and_a_writer_in_step_never_miss_a_row(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let mut cursor = subject.cursor(workspace).await;
    for number in 0..40 {
        let mut waiting = reader(&subject.either(0), workspace, after(cursor));
        let early = run_a_little(number % 10, &mut waiting).await;
        assert_eq!(early, None, "there was nothing to answer");
        let row = subject.activity.append(workspace, message(workspace, 1));
        let row = row.await.unwrap();
        cursor = row.id;
        assert_eq!(waiting.await, [row], "round {number}");
    }
}
