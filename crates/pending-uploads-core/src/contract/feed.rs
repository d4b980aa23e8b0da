//! A workspace's feed: invariant 2 (no lost announcement).

use std::time::Duration;

use serde_json::json;

use super::support::*;
use super::{Fixture, Subject, Terms};
use crate::{
    Activity, ActivityId, ActivityQuery, ActivityStatus, ActivityType, Error, FeedText,
    NewActivity, PageSize, Source, WorkspaceId,
};

/// A feed of `count` messages, a second apart; the clock then shows the time of the last one.
async fn feed_of(subject: &Subject, workspace: WorkspaceId, count: i64) -> Vec<Activity> {
    let mut rows = Vec::new();
    for number in 0..count {
        subject.clock.advance(Duration::from_secs(1));
        let message = message(workspace, number);
        rows.push(subject.activity.append(workspace, message).await.unwrap());
    }
    rows
}

async fn seqs_of(subject: &Subject, workspace: WorkspaceId, query: &ActivityQuery) -> Vec<i64> {
    seqs(&subject.activity.list(workspace, query).await.unwrap())
}

fn limit(rows: u64) -> PageSize {
    PageSize::capped(rows).unwrap()
}

/// `ActivityLog::append`: answers the row that everybody reads.
pub async fn append_answers_the_row_that_is_read(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let appended = feed_of(&subject, workspace, 2).await;
    assert_eq!(appended[0].workspace_id, workspace);
    assert_eq!(appended[1].created_at, subject.now());
    assert_eq!(appended[1].content, message(workspace, 1));
    for number in 0..2 {
        let activity = subject.either(number).activity;
        let mut read = activity.list(workspace, &newest()).await.unwrap();
        read.reverse();
        assert_eq!(read, appended);
    }
}

/// `ActivityLog::append`: everything that a row can say is read as it was written.
pub async fn a_row_keeps_everything_that_it_says(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let content = NewActivity {
        activity_type: "task_update".parse().unwrap(),
        source_id: Some(WorkspaceId::generate()),
        target_id: None,
        method: Some(FeedText::clean("tasks/update")),
        summary: Some(FeedText::clean("Grüße, 中文, 🦀 and 'quotes\"")),
        request_body: Some(json!({
            "nested": [1, -2.5, null, true, { "": "empty key" }],
            "large": u64::MAX,
            "text": "line\nline\t\\ \" \u{2028} 🦀",
        })),
        response_body: Some(json!([])),
        duration_ms: Some(i64::MAX),
        status: ActivityStatus::Error,
        error_detail: Some(FeedText::clean("it failed")),
    };
    assert_is_kept(&subject, workspace, content).await;
}

/// `ActivityLog::append`: what a row does not say stays unsaid, and a JSON null is not nothing.
pub async fn a_row_keeps_what_it_leaves_unsaid(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let content = NewActivity {
        activity_type: ActivityType::A2A_RECEIVE,
        source_id: None,
        target_id: None,
        method: None,
        summary: None,
        request_body: None,
        response_body: Some(json!(null)),
        duration_ms: None,
        status: ActivityStatus::Ok,
        error_detail: None,
    };
    assert_is_kept(&subject, workspace, content).await;
}

/// `ActivityLog::append`: a text in JSON may hold any character, the one with the number 0 too.
pub async fn a_message_keeps_every_character(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let text: String = (0..=0x7f_u8).map(char::from).collect();
    let body = json!({ "text": text, "key\u{0}": 0 });
    let content = NewActivity::message(workspace, "message/send", body);
    assert_is_kept(&subject, workspace, content).await;
}

async fn assert_is_kept(subject: &Subject, workspace: WorkspaceId, content: NewActivity) {
    let appended = subject.activity.append(workspace, content.clone()).await;
    assert_eq!(appended.unwrap().content, content);
    assert_eq!(subject.feed(workspace).await[0].content, content);
}

/// Invariant 2: messages, announcements and expiries share one numbering without a gap.
pub async fn every_writer_shares_one_numbering(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    subject.publish_many(workspace, 2).await;
    feed_of(&subject, workspace, 2).await;
    subject.clock.advance(subject.ttl);
    subject.sweep().await;
    subject.publish(workspace, b"x").await;
    let rows = subject.feed(workspace).await;
    assert_eq!(seqs(&rows), dense(7));
    let expired: Vec<_> = (1..)
        .zip(&rows)
        .filter(|(_, row)| row.content.activity_type == ActivityType::CHAT_UPLOAD_EXPIRED)
        .map(|(number, _)| number)
        .collect();
    assert_eq!(expired, [5, 6]);
}

/// `ActivityLog::append`: every repetition appends another row.
pub async fn the_same_message_twice_is_two_rows(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let one = subject.cursor(workspace).await;
    let two = subject.cursor(workspace).await;
    assert_ne!(one, two);
    assert_eq!(seqs(&subject.feed(workspace).await), [1, 2]);
}

/// `ActivityLog::append`: an unknown workspace has no feed to append to.
pub async fn nothing_is_appended_for_an_unknown_workspace(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let id = WorkspaceId::generate();
    let appended = subject.activity.append(id, message(id, 0)).await;
    assert_error!(appended, Error::UnknownWorkspace);
}

/// `FeedStart::After`: the rows strictly after the cursor, oldest first.
pub async fn after_a_cursor_come_the_rows_behind_it_oldest_first(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let rows = feed_of(&subject, workspace, 5).await;
    let read = subject.activity.list(workspace, &after(rows[1].id)).await;
    assert_eq!(read.unwrap(), rows[2..]);
    assert_eq!(
        seqs_of(&subject, workspace, &after(rows[4].id)).await,
        dense(0)
    );
}

/// `FeedStart::Newest`: without a cursor, newest first.
pub async fn without_a_cursor_the_newest_come_first(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    feed_of(&subject, workspace, 3).await;
    assert_eq!(seqs_of(&subject, workspace, &newest()).await, [3, 2, 1]);
}

/// `FeedStart::Oldest`: all rows, oldest first, from any instance; a page ends with a cursor.
pub async fn from_the_oldest_on_come_all_rows_oldest_first(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let rows = feed_of(&subject, workspace, 5).await;
    for number in 0..2 {
        let activity = subject.either(number).activity;
        let read = activity.list(workspace, &oldest()).await.unwrap();
        assert_eq!(read, rows);
    }
    let first = ActivityQuery {
        limit: limit(2),
        ..oldest()
    };
    let page = subject.activity.list(workspace, &first).await.unwrap();
    assert_eq!(page, rows[..2]);
    let rest = after(page[1].id);
    assert_eq!(seqs_of(&subject, workspace, &rest).await, [3, 4, 5]);
}

/// `FeedStart::Oldest`: with filters, the oldest rows that match.
pub async fn the_oldest_rows_can_be_filtered(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let rows = feed_of(&subject, workspace, 2).await;
    for _ in 0..3 {
        let remark = remark(workspace);
        subject.activity.append(workspace, remark).await.unwrap();
    }
    let two_remarks = ActivityQuery {
        activity_type: Some(remark_type()),
        limit: limit(2),
        ..oldest()
    };
    assert_eq!(seqs_of(&subject, workspace, &two_remarks).await, [3, 4]);
    let since = ActivityQuery {
        source: Some(Source::Canvas),
        created_since: Some(rows[1].created_at),
        ..oldest()
    };
    assert_eq!(seqs_of(&subject, workspace, &since).await, [2, 3, 4, 5]);
    let from_agents = ActivityQuery {
        source: Some(Source::Agent),
        ..oldest()
    };
    assert_eq!(seqs_of(&subject, workspace, &from_agents).await, dense(0));
}

/// `FeedStart::Oldest`: a feed without rows is empty from its oldest row on, and no cursor is gone.
pub async fn a_feed_without_rows_has_no_oldest(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    for id in [workspace, WorkspaceId::generate()] {
        assert_eq!(seqs_of(&subject, id, &oldest()).await, dense(0));
    }
}

/// `ActivityQuery::limit`: after a cursor the oldest, so that nothing is skipped; without one the
/// newest.
pub async fn a_page_is_cut_at_its_far_end(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let rows = feed_of(&subject, workspace, 5).await;
    let forward = ActivityQuery {
        limit: limit(2),
        ..after(rows[0].id)
    };
    assert_eq!(seqs_of(&subject, workspace, &forward).await, [2, 3]);
    let back = ActivityQuery {
        limit: limit(2),
        ..newest()
    };
    assert_eq!(seqs_of(&subject, workspace, &back).await, [5, 4]);
}

/// Invariant 2: a poller that takes each page's last row as its next cursor sees every row once.
pub async fn a_poller_that_follows_its_cursor_sees_every_row(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let mut cursor = subject.cursor(workspace).await;
    feed_of(&subject, workspace, 23).await;
    let mut seen = Vec::new();
    loop {
        let query = ActivityQuery {
            limit: limit(5),
            ..after(cursor)
        };
        let page = subject.activity.list(workspace, &query).await.unwrap();
        let Some(last) = page.last() else { break };
        cursor = last.id;
        seen.extend(seqs(&page));
    }
    assert_eq!(seen, dense(24)[1..]);
}

/// `ActivityQuery::activity_type`: only rows of that type.
pub async fn a_type_leaves_out_the_others(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let cursor = subject.cursor(workspace).await;
    for content in [remark(workspace), message(workspace, 1), remark(workspace)] {
        subject.activity.append(workspace, content).await.unwrap();
    }
    let remarks = ActivityQuery {
        activity_type: Some(remark_type()),
        ..after(cursor)
    };
    assert_eq!(seqs_of(&subject, workspace, &remarks).await, [2, 4]);
    let messages = ActivityQuery {
        activity_type: Some(ActivityType::A2A_RECEIVE),
        ..newest()
    };
    assert_eq!(seqs_of(&subject, workspace, &messages).await, [3, 1]);
}

/// `ActivityQuery::source`: rows of a person at the canvas have no source, an agent's have one.
pub async fn a_source_leaves_out_the_other(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let cursor = subject.cursor(workspace).await;
    let from_agent = NewActivity {
        source_id: Some(WorkspaceId::generate()),
        ..message(workspace, 1)
    };
    subject
        .activity
        .append(workspace, from_agent)
        .await
        .unwrap();
    subject.publish(workspace, b"x").await;
    for (source, expected) in [(Source::Canvas, 3), (Source::Agent, 2)] {
        let query = ActivityQuery {
            source: Some(source),
            ..after(cursor)
        };
        assert_eq!(seqs_of(&subject, workspace, &query).await, [expected]);
    }
}

/// `ActivityQuery::created_since`: from that time on, that time included.
pub async fn created_since_takes_its_own_moment_in(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let rows = feed_of(&subject, workspace, 4).await;
    let query = ActivityQuery {
        created_since: Some(rows[2].created_at),
        ..newest()
    };
    assert_eq!(seqs_of(&subject, workspace, &query).await, [4, 3]);
}

/// `ActivityQuery::created_before`: strictly before that time.
pub async fn created_before_leaves_its_own_moment_out(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let rows = feed_of(&subject, workspace, 4).await;
    let query = ActivityQuery {
        created_before: Some(rows[2].created_at),
        ..newest()
    };
    assert_eq!(seqs_of(&subject, workspace, &query).await, [2, 1]);
}

/// `ActivityQuery`: all that is asked for holds at once, and the limit counts what is left.
pub async fn filters_hold_together(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let mut rows = Vec::new();
    for number in 0..12 {
        subject.clock.advance(Duration::from_secs(1));
        let content = NewActivity {
            source_id: (number % 2 == 0).then(WorkspaceId::generate),
            activity_type: if number % 3 == 0 {
                remark_type()
            } else {
                ActivityType::A2A_RECEIVE
            },
            ..message(workspace, number)
        };
        rows.push(subject.activity.append(workspace, content).await.unwrap());
    }
    let query = ActivityQuery {
        activity_type: Some(ActivityType::A2A_RECEIVE),
        source: Some(Source::Agent),
        created_since: Some(rows[2].created_at),
        created_before: Some(rows[10].created_at),
        limit: limit(2),
        ..after(rows[0].id)
    };
    assert_eq!(seqs_of(&subject, workspace, &query).await, [3, 5]);
    let no_limit = ActivityQuery {
        limit: PageSize::default(),
        ..query
    };
    assert_eq!(seqs_of(&subject, workspace, &no_limit).await, [3, 5, 9]);
}

/// `ActivityLog::list`: a cursor that names no row is gone, and not the feed's beginning.
pub async fn an_unknown_cursor_is_gone(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    feed_of(&subject, workspace, 2).await;
    let query = after(ActivityId::generate());
    let listed = subject.activity.list(workspace, &query).await;
    assert_error!(listed, Error::CursorGone);
    let waited = subject.activity.wait(workspace, &query, PATIENCE).await;
    assert_error!(waited, Error::CursorGone);
}

/// `ActivityLog::list`: the feed of an unknown workspace is empty.
pub async fn the_feed_of_an_unknown_workspace_is_empty(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let id = WorkspaceId::generate();
    assert_eq!(seqs_of(&subject, id, &newest()).await, dense(0));
}

/// `ActivityLog::list`: a page of large bodies ends early, is never empty, and hides no row.
pub async fn a_page_of_large_bodies_ends_early_and_never_empty(fixture: &dyn Fixture) {
    const BODY_BYTES: usize = 700 * 1024;
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let cursor = subject.cursor(workspace).await;
    for _ in 0..5 {
        let body = json!({ "text": "x".repeat(BODY_BYTES) });
        let large = NewActivity::message(workspace, "message/send", body);
        subject.activity.append(workspace, large).await.unwrap();
    }
    let mut query = after(cursor);
    let mut pages = Vec::new();
    while let Some(last) = {
        let page = subject.activity.list(workspace, &query).await.unwrap();
        pages.push(seqs(&page));
        page.last().map(|row| row.id)
    } {
        query = after(last);
    }
    // The second body of a page is what passes its bound.
    assert_eq!(pages, [vec![2, 3], vec![4, 5], vec![6], vec![]]);
    assert_eq!(seqs_of(&subject, workspace, &newest()).await, [6, 5]);
    assert_eq!(seqs_of(&subject, workspace, &oldest()).await, [1, 2, 3]);
}
