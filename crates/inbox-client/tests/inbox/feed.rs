//! The feed: how it is asked, and what is made of its rows.

use std::time::Duration;

use inbox_client::{CallError, FeedCursor, FeedQuery, FeedRow, PlatformWorkspace, RowContent};
use pending_uploads_core::{ActivityId, ActivityType, FileId, Seq, WorkspaceId};
use serde_json::{Value, json};

use crate::support::scripted::{Answer, Scripted};
use crate::support::{HASTY, PATIENT, said, waiting_file, workspace};

fn query(after: FeedCursor) -> FeedQuery {
    FeedQuery {
        after,
        kind: ActivityType::A2A_RECEIVE,
        wait: Duration::ZERO,
        limit: 50,
    }
}

/// A row of the feed of `workspace`.
fn row(workspace: WorkspaceId, seq: i64, method: &str, body: &Value) -> Value {
    json!({
        "id": ActivityId::generate().to_string(), "workspace_id": workspace.to_string(),
        "activity_type": "a2a_receive", "source_id": null, "method": method, "request_body": body,
        "created_at": "2026-05-04T12:00:00.123456Z", "seq": seq,
    })
}

/// What is made of an answer with these rows.
async fn read(rows: impl FnOnce(&PlatformWorkspace) -> String) -> Result<Vec<FeedRow>, CallError> {
    let scripted = Scripted::start().await;
    let (workspace, path) = workspace(&scripted, PATIENT);
    let answer = Answer::bytes(200, rows(&workspace));
    scripted.on("GET", &format!("{path}/activity"), [answer]);
    workspace.feed(&query(FeedCursor::Beginning)).await
}

/// What is made of one row.
async fn read_one(method: &str, body: impl FnOnce(WorkspaceId) -> Value) -> FeedRow {
    let rows = |workspace: &PlatformWorkspace| {
        let id = workspace.id();
        json!([row(id, 1, method, &body(id))]).to_string()
    };
    read(rows).await.unwrap().remove(0)
}

#[tokio::test]
async fn each_cursor_asks_in_its_own_way() {
    let scripted = Scripted::start().await;
    let (workspace, path) = workspace(&scripted, PATIENT);
    let answer = Answer::json(200, &json!([]));
    scripted.on("GET", &format!("{path}/activity"), [answer]);
    let cursor = ActivityId::generate();
    for after in [
        FeedCursor::Beginning,
        FeedCursor::After(cursor),
        FeedCursor::Newest,
    ] {
        let query = FeedQuery {
            wait: Duration::from_millis(7900),
            ..query(after)
        };
        assert!(workspace.feed(&query).await.unwrap().is_empty());
    }
    let requests = scripted.requests();
    let asked = |name| -> Vec<_> {
        requests
            .iter()
            .map(|request| request.parameter(name))
            .collect()
    };
    let cursor = cursor.to_string();
    let nil = "00000000-0000-0000-0000-000000000000";
    assert_eq!(asked("since_id"), [Some(nil), Some(&cursor), None]);
    assert_eq!(asked("wait"), [Some("7"), Some("7"), None]);
    assert_eq!(asked("type"), [Some("a2a_receive"); 3]);
    assert_eq!(asked("limit"), [Some("50"); 3]);
}

#[tokio::test]
async fn a_poll_that_waits_may_take_as_long_as_it_waits() {
    let scripted = Scripted::start().await;
    let (workspace, path) = workspace(&scripted, HASTY);
    let late = Answer::json(200, &json!([])).delayed(2 * (HASTY.connect + HASTY.answer));
    scripted.on("GET", &format!("{path}/activity"), [late]);
    let mut query = query(FeedCursor::Beginning);
    let error = workspace.feed(&query).await.unwrap_err();
    assert!(matches!(error, CallError::TimedOut), "{error:?}");
    query.wait = Duration::from_secs(10);
    assert!(workspace.feed(&query).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_cursor_that_is_gone_is_told() {
    let scripted = Scripted::start().await;
    let (workspace, path) = workspace(&scripted, PATIENT);
    let gone = Answer::error(410, "cursor_gone");
    scripted.on("GET", &format!("{path}/activity"), [gone]);
    let cursor = FeedCursor::After(ActivityId::generate());
    let error = workspace.feed(&query(cursor)).await.unwrap_err();
    assert!(matches!(error, CallError::CursorGone), "{error:?}");
}

#[tokio::test]
async fn a_message_is_handed_on_as_it_came() {
    let body = json!({"b": {"x": [1, 2.5, null]}, "a": "é\u{1f600}"});
    let read = read_one("message/send", |_| body.clone()).await;
    assert_eq!(read.content, RowContent::Message);
    assert_eq!(read.seq, Seq(1));
    assert_eq!(read.created_at.to_string(), "2026-05-04T12:00:00.123456Z");
    assert_eq!(read.raw["id"], json!(read.id.to_string()));
    assert_eq!(read.raw["request_body"].to_string(), body.to_string());
    assert_eq!(read.raw["source_id"], Value::Null);
}

#[tokio::test]
async fn an_announcement_is_read() {
    let read = read_one("chat_upload_receive", |id| said(&waiting_file(id, b"abc"))).await;
    let RowContent::Announcement(file) = read.content else {
        panic!("{read:?}");
    };
    assert_eq!(said(&file), read.raw["request_body"]);
}

#[tokio::test]
async fn an_announcement_for_another_workspace_is_unreadable() {
    let file = waiting_file(WorkspaceId::generate(), b"abc");
    let read = read_one("chat_upload_receive", |_| said(&file)).await;
    let unreadable = RowContent::UnreadableAnnouncement(Some(file.file_id));
    assert_eq!(read.content, unreadable);
}

#[tokio::test]
async fn an_announcement_of_nothing_is_unreadable() {
    for body in [json!({"file_id": "x"}), Value::Null, json!("text")] {
        let read = read_one("chat_upload_receive", |_| body).await;
        assert_eq!(read.content, RowContent::UnreadableAnnouncement(None));
    }
}

#[tokio::test]
async fn an_expiry_names_its_file() {
    let file = FileId::generate();
    let body = json!({"file_id": file.to_string(), "name": "a", "size": 1});
    let read = read_one("chat_upload_expired", |_| body).await;
    assert_eq!(read.content, RowContent::Expiry(file));
}

#[tokio::test]
async fn a_row_that_cannot_be_read_does_not_lose_the_others() {
    let rows = |workspace: &PlatformWorkspace| {
        let row = |seq| row(workspace.id(), seq, "message/send", &Value::Null);
        let broken = |key: &str, value: Value| {
            let mut row = row(7);
            row[key] = value;
            row.to_string()
        };
        let rows = [
            row(1).to_string(),
            broken("id", json!("x")),
            broken("seq", json!("7")),
            broken("created_at", json!("yesterday")),
            broken("workspace_id", json!(WorkspaceId::generate().to_string())),
            "null".to_owned(),
            row(8).to_string(),
        ];
        format!("[{}]", rows.join(","))
    };
    let read = read(rows).await.unwrap();
    let seqs: Vec<_> = read.iter().map(|row| row.seq).collect();
    assert_eq!(seqs, [Seq(1), Seq(8)]);
}

#[tokio::test]
async fn rows_of_which_none_can_be_read_are_no_answer() {
    for rows in ["[{}, null]", "{}", "[", "<html>"] {
        let error = read(|_| rows.to_owned()).await.unwrap_err();
        assert!(matches!(error, CallError::Malformed { .. }), "{error:?}");
    }
    assert!(read(|_| "[]".to_owned()).await.unwrap().is_empty());
}

/// The row of a message that is so deeply nested.
async fn nested(levels: usize) -> FeedRow {
    let deep = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let rows = |workspace: &PlatformWorkspace| {
        let row = row(workspace.id(), 1, "message/send", &json!("DEEP"));
        format!("[{}]", row.to_string().replace("\"DEEP\"", &deep))
    };
    read(rows).await.unwrap().remove(0)
}

#[tokio::test]
async fn a_message_may_be_as_deep_as_a_document_of_its_own() {
    // The platform has read it as a document, where it was two levels less deep than in the feed.
    let deepest = nested(127).await;
    assert!(deepest.raw["request_body"].is_array());
}

#[tokio::test]
async fn a_message_that_is_too_deep_to_be_read_is_handed_on_as_its_text() {
    let levels = 50_000;
    let read = nested(levels).await;
    assert_eq!(read.content, RowContent::Message);
    let text = read.raw["request_body"].as_str().unwrap();
    assert_eq!(text.len(), 2 * levels);
}
