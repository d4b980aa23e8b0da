//! Messages are handed on in order, after the files that they mention, with paths in place of URIs.

use inbox_client::{Event, Status};
use pending_uploads_core::{FileId, PendingUri, WorkspaceId};
use serde_json::json;
use tempfile::TempDir;

use crate::support::stand_in::{
    Fault, StandIn, final_name, next_arrived, next_event, next_lost, next_request, text_and_uris,
    until,
};

#[tokio::test]
async fn a_message_comes_after_the_files_that_it_mentions_with_their_paths() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    let files = [platform.upload(b"one"), platform.upload(b"two")];
    let slow: Fault = Box::new(|_, answer| answer.delayed(std::time::Duration::from_millis(300)));
    platform.break_fetches(&files[1], [slow]);
    platform.send_about("look at these", &[&files[0], &files[1]]);
    let arrived = [
        next_arrived(&mut inbox).await,
        next_arrived(&mut inbox).await,
    ];
    let (text, uris) = text_and_uris(&next_request(&mut inbox).await);
    assert_eq!(text, "look at these");
    for arrived in arrived {
        let uri = format!("workspace:{}", arrived.path.display());
        assert!(uris.contains(&uri), "{uris:?}");
        assert!(arrived.path.is_absolute());
    }
}

#[tokio::test]
async fn a_message_whose_rows_came_before_their_file_waits_for_it() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let file = platform.hold(b"announced late");
    platform.send_about("see the file", &[&file]);
    platform.announce_late(&file);
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    let arrived = next_arrived(&mut inbox).await;
    let (_, uris) = text_and_uris(&next_request(&mut inbox).await);
    assert_eq!(uris, [format!("workspace:{}", arrived.path.display())]);
}

#[tokio::test]
async fn the_whole_row_is_handed_on_in_both_shapes_of_a2a() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let file = platform.upload(b"x");
    let uri = file.uri().to_string();
    platform.send(
        &json!({"jsonrpc": "2.0", "method": "message/send", "params": {"message": {
        "parts": [{"url": uri, "filename": "x"}, {"kind": "file", "file": {"uri": uri}}]}}}),
    );
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    next_arrived(&mut inbox).await;
    let Event::Message(message) = next_event(&mut inbox).await else {
        panic!("a message should have come");
    };
    let folder = folder.path().canonicalize().unwrap().join("files");
    let path = format!("workspace:{}", folder.join(final_name(&file)).display());
    assert_eq!(message.row["seq"], 2);
    assert_eq!(message.row["activity_type"], "a2a_receive");
    let parts = &message.row["request_body"]["params"]["message"]["parts"];
    assert_eq!(
        *parts,
        json!([{"url": path, "filename": "x"}, {"kind": "file", "file": {"uri": path}}])
    );
}

#[tokio::test]
async fn a_message_about_a_lost_file_comes_with_its_uri_as_it_was() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let file = platform.upload(b"gone soon");
    platform.forget(&file);
    platform.send_about("too late", &[&file]);
    platform.announce_expiry(&file);
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    next_lost(&mut inbox).await;
    let (_, uris) = text_and_uris(&next_request(&mut inbox).await);
    assert_eq!(uris, [file.uri().to_string()]);
}

#[tokio::test]
async fn a_message_about_a_file_that_never_was_is_not_held_back_for_ever() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let uri = |workspace_id| PendingUri {
        workspace_id,
        file_id: FileId::generate(),
    };
    let ours = uri(platform.workspace());
    let not_ours = uri(WorkspaceId::generate());
    let parts = [ours, not_ours].map(|uri| json!({"url": uri.to_string()}));
    let request = json!({"parts": parts});
    platform.send(&request);
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    assert_eq!(next_lost(&mut inbox).await.uri, ours);
    assert_eq!(next_request(&mut inbox).await, request);
}

#[tokio::test]
async fn messages_keep_their_order_and_none_is_missing() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    for number in 0..330 {
        platform.send_about(&number.to_string(), &[]);
    }
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    for number in 0..340 {
        if number == 325 {
            for late in 330..340 {
                platform.send_about(&late.to_string(), &[]);
            }
        }
        let (text, _) = text_and_uris(&next_request(&mut inbox).await);
        assert_eq!(text, number.to_string());
    }
}

#[tokio::test]
async fn the_cursor_moves_past_a_message_when_it_and_all_before_it_are_confirmed() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    for text in ["a", "b", "c"] {
        platform.send_about(text, &[]);
    }
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    let (first, second) = (inbox.next().await.unwrap(), inbox.next().await.unwrap());
    let third = inbox.next().await.unwrap();
    third.confirm();
    first.confirm();
    let state = folder.path().join("state");
    let cursor = || {
        let status = Status::read(&state, platform.workspace()).unwrap();
        status.unwrap().cursor.map(|cursor| cursor.seq.0)
    };
    until(|| cursor() == Some(1)).await;
    drop(second);
    inbox.close().await;
    assert_eq!(cursor(), Some(1));
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    let (again, _) = text_and_uris(&next_request(&mut inbox).await);
    assert_eq!(again, "b");
    inbox.close().await;
    assert_eq!(
        cursor(),
        Some(3),
        "what was confirmed ahead does not come again"
    );
}

#[tokio::test]
async fn the_cursor_does_not_move_past_a_file_whose_fetch_failed() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let file = platform.upload(b"fails for now");
    let down = || -> Fault {
        Box::new(|_, _| crate::support::scripted::Answer::error(503, "platform_unavailable"))
    };
    platform.break_fetches(&file, (0..10_000).map(|_| down()));
    platform.send_about("about something else", &[]);
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    next_request(&mut inbox).await;
    until(|| platform.fetches(&file) > 2).await;
    inbox.close().await;
    let state = folder.path().join("state");
    let status = Status::read(&state, platform.workspace()).unwrap().unwrap();
    assert_eq!(status.cursor, None);
}
