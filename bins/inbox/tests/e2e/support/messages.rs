//! Messages: sending them, and comparing what was told of them with the feed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use server_harness::{Answer, Client, Workspace, text};

use super::history::History;

/// The cursor before the first row of every feed.
const BEGINNING: &str = "00000000-0000-0000-0000-000000000000";
/// The method of a row that announces a file.
const ANNOUNCEMENT: &str = "chat_upload_receive";

/// A message that says `words` and mentions files, as A2A 0.3 and as A2A 1.0 have it in turn.
fn message(words: &str, uris: &[String]) -> Value {
    let mut parts = vec![json!({"kind": "text", "text": words})];
    for (index, uri) in uris.iter().enumerate() {
        parts.push(match index % 2 {
            0 => json!({"kind": "file", "file": {"uri": uri, "name": "a name"}}),
            _ => json!({"url": uri, "mediaType": "text/plain"}),
        });
    }
    let message = json!({"role": "user", "messageId": words, "parts": parts});
    let params = json!({ "message": message });
    json!({"jsonrpc": "2.0", "id": words, "method": "message/send", "params": params})
}

/// Sends a message to the workspace, which must be taken.
pub(crate) async fn say(client: &Client, workspace: &Workspace, words: &str, uris: &[String]) {
    let answer = try_to_say(client, workspace, words, uris).await;
    assert_eq!(answer.map(|answer| answer.status), Some(200));
}

/// Sends a message to a server that may end meanwhile; without an answer, nobody knows whether it was
/// taken.
pub(crate) async fn try_to_say(
    client: &Client,
    workspace: &Workspace,
    words: &str,
    uris: &[String],
) -> Option<Answer> {
    let (path, message) = (workspace.path("a2a"), message(words, uris));
    client.try_post_json(&path, &message).await.ok()
}

/// The rows of all messages in the workspace's feed, oldest first.
pub(crate) async fn messages(client: &Client, workspace: &Workspace) -> Vec<Value> {
    let (mut rows, mut cursor) = (Vec::new(), BEGINNING.to_owned());
    loop {
        let query = format!("since_id={cursor}&type=a2a_receive&limit=500");
        let page = client.feed(workspace, &query).await;
        let Some(last) = page.last() else {
            rows.retain(|row: &Value| row["method"] != ANNOUNCEMENT);
            return rows;
        };
        cursor = text(last, "id");
        rows.extend(page);
    }
}

/// Each message of the feed was told of, in the order of the feed, after the files that it mentions,
/// with their paths in the place of their URIs. A process goes on no further than where the one
/// before was, and then leaves nothing out.
pub(crate) fn check_messages(feed: &[Value], history: &History) {
    let arrived = history.arrived();
    let expected: Vec<_> = feed.iter().map(|row| rewritten(row, &arrived)).collect();
    let numbers = feed.iter().zip(0..).map(|(row, n)| (text(row, "id"), n));
    let numbers: BTreeMap<_, usize> = numbers.collect();
    let (mut settled, mut furthest) = (BTreeSet::new(), 0);
    for run in history.runs() {
        let mut next = None;
        for event in run {
            if event["event"] != "message" {
                settled.insert(text(event, "uri"));
                continue;
            }
            let row = &event["row"];
            let number = numbers[&text(row, "id")];
            assert!(
                next.unwrap_or(furthest.min(number)) == number,
                "{number} does not follow {next:?}, {furthest}: {row}"
            );
            assert_eq!(*row, expected[number]);
            for uri in mentions(&feed[number]) {
                assert!(settled.contains(&uri), "told of before {uri}: {row}");
            }
            next = Some(number + 1);
            furthest = furthest.max(number + 1);
        }
    }
    assert_eq!(furthest, feed.len(), "messages are missing");
}

/// The row as an inbox tells of it.
fn rewritten(row: &Value, arrived: &BTreeMap<String, Value>) -> Value {
    let mut row = row.clone();
    for uri in mentioned_in(&mut row) {
        let path = arrived.get(uri.as_str().unwrap());
        if let Some(path) = path.map(|event| text(event, "path")) {
            *uri = Value::String(format!("workspace:{path}"));
        }
    }
    row
}

/// The URIs that a row mentions.
fn mentions(row: &Value) -> Vec<String> {
    let mut row = row.clone();
    let uris = mentioned_in(&mut row).into_iter();
    uris.map(|uri| uri.as_str().unwrap().to_owned()).collect()
}

fn mentioned_in(row: &mut Value) -> Vec<&mut Value> {
    let parts = row.pointer_mut("/request_body/params/message/parts");
    let parts = parts.and_then(Value::as_array_mut).into_iter().flatten();
    let mentioned = parts.filter_map(|part| {
        let place = if part["file"].is_object() {
            "/file/uri"
        } else {
            "/url"
        };
        part.pointer_mut(place)
    });
    mentioned.collect()
}
