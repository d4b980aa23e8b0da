//! What a restart, a lost cursor and a lost journal change: nothing that anybody would notice.

use std::fs;

use inbox_client::{Event, OpenError};
use tempfile::TempDir;

use crate::support::scripted::Answer;
use crate::support::stand_in::{
    StandIn, final_name, lying_in, next_arrived, next_event, next_request, text_and_uris, until,
};

#[tokio::test]
async fn a_message_after_a_restart_still_finds_the_path_of_an_earlier_file() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let file = platform.upload(b"before");
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    let arrived = next_arrived(&mut inbox).await;
    until(|| platform.is_empty()).await;
    inbox.close().await;
    platform.send_about("after", &[&file]);
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    let (_, uris) = text_and_uris(&next_request(&mut inbox).await);
    assert_eq!(uris, [format!("workspace:{}", arrived.path.display())]);
    assert_eq!(platform.fetches(&file), 1);
}

#[tokio::test]
async fn files_whose_folder_was_moved_are_told_of_where_they_are_now() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let (first, second) = (platform.upload(b"before"), platform.upload(b"too"));
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    next_arrived(&mut inbox).await;
    // The other one is not confirmed.
    let delivery = inbox.next().await.unwrap();
    until(|| platform.is_empty()).await;
    drop(delivery);
    inbox.close().await;
    let moved = folder.path().canonicalize().unwrap().join("moved");
    fs::rename(folder.path().join("files"), &moved).unwrap();
    platform.send_about("after", &[&first, &second]);
    let builder = platform.inbox(folder.path()).folder(&moved);
    let mut inbox = builder.open().await.unwrap();
    let again = next_arrived(&mut inbox).await;
    assert_eq!(again.path.parent(), Some(&*moved));
    let (_, uris) = text_and_uris(&next_request(&mut inbox).await);
    let place = |file| format!("workspace:{}", moved.join(final_name(file)).display());
    assert_eq!(uris, [place(&first), place(&second)]);
    inbox.close().await;
    assert_eq!(platform.fetches(&first) + platform.fetches(&second), 2);
}

#[tokio::test]
async fn an_event_that_was_not_confirmed_is_handed_over_again() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let file = platform.upload(b"look at me");
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    let delivery = inbox.next().await.unwrap();
    assert_eq!(delivery.workspace_id(), platform.workspace());
    drop(delivery);
    until(|| platform.is_empty()).await;
    inbox.close().await;
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    assert_eq!(next_arrived(&mut inbox).await.uri, file.uri());
    inbox.close().await;
    platform.send_about("nothing in between", &[]);
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    let event = next_event(&mut inbox).await;
    assert!(matches!(event, Event::Message(_)), "{event:?}");
    assert_eq!(platform.fetches(&file), 1);
}

#[tokio::test]
async fn a_file_that_is_whole_is_not_fetched_again_when_the_journal_is_lost() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let file = platform.upload(b"only once");
    let refuse = platform.path(&format!("pending-uploads/{}/ack", file.file_id));
    let unavailable = Answer::error(503, "platform_unavailable");
    platform.scripted().on("POST", &refuse, [unavailable]);
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    next_arrived(&mut inbox).await;
    inbox.close().await;
    fs::remove_dir_all(folder.path().join("state")).unwrap();
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    next_arrived(&mut inbox).await;
    inbox.close().await;
    assert_eq!(platform.fetches(&file), 1);
    let names: Vec<_> = lying_in(folder.path()).into_keys().collect();
    assert_eq!(names, [final_name(&file)]);
}

#[tokio::test]
async fn an_ack_that_failed_is_made_up_for_after_a_restart() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let file = platform.upload(b"ack me");
    let route = platform.path(&format!("pending-uploads/{}/ack", file.file_id));
    let down = Answer::error(503, "platform_unavailable");
    platform.scripted().on("POST", &route, [down]);
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    let arrived = next_arrived(&mut inbox).await;
    inbox.close().await;
    // The agent may have taken the file away; it is acked all the same, and not fetched again.
    fs::remove_file(arrived.path).unwrap();
    platform.serve_file(file.file_id);
    let inbox = platform.inbox(folder.path()).open().await.unwrap();
    until(|| platform.is_empty()).await;
    inbox.close().await;
    assert_eq!(platform.fetches(&file), 1);
    assert!(lying_in(folder.path()).is_empty());
}

#[tokio::test]
async fn a_platform_that_forgot_an_ack_is_told_again() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let file = platform.upload(b"restored from a copy");
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    next_arrived(&mut inbox).await;
    until(|| platform.acks().len() == 1).await;
    platform.remember(&file);
    until(|| platform.acks().len() == 2).await;
    inbox.close().await;
    assert_eq!(platform.fetches(&file), 1);
}

#[tokio::test]
async fn a_cursor_that_is_gone_loses_nothing_and_repeats_nothing() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    for text in ["a", "b", "c"] {
        platform.send_about(text, &[]);
    }
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    for _ in 0..3 {
        next_request(&mut inbox).await;
    }
    inbox.close().await;
    let old = platform.hold(b"waits since yesterday");
    platform.send_about("d", &[&old]);
    platform.replace_cursors();
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    assert_eq!(next_arrived(&mut inbox).await.uri, old.uri());
    let (text, _) = text_and_uris(&next_request(&mut inbox).await);
    assert_eq!(text, "d");
    platform.send_about("e", &[]);
    let (text, _) = text_and_uris(&next_request(&mut inbox).await);
    assert_eq!(text, "e");
}

#[tokio::test]
async fn rows_that_were_pruned_behind_the_cursor_are_no_trouble() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    for text in ["a", "b"] {
        platform.send_about(text, &[]);
    }
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    next_request(&mut inbox).await;
    next_request(&mut inbox).await;
    inbox.close().await;
    platform.send_about("c", &[]);
    platform.prune(2);
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    let (text, _) = text_and_uris(&next_request(&mut inbox).await);
    assert_eq!(text, "c");
}

#[tokio::test]
async fn a_second_inbox_on_the_same_state_is_refused_while_the_first_is_open() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let first = platform.inbox(folder.path()).open().await.unwrap();
    let refused = platform.inbox(folder.path()).open().await.unwrap_err();
    assert!(matches!(refused, OpenError::State(..)), "{refused:?}");
    first.close().await;
    platform.inbox(folder.path()).open().await.unwrap();
}

#[tokio::test]
async fn events_that_nobody_takes_again_do_not_keep_new_files_from_arriving() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let old: Vec<_> = (0..20_u8).map(|n| platform.upload(&[n])).collect();
    let inbox = platform.inbox(folder.path()).open().await.unwrap();
    until(|| platform.is_empty()).await;
    inbox.close().await;
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    let new = platform.upload(b"new");
    platform.send_about("see there", &[&new]);
    until(|| platform.is_empty()).await;
    // What is old still comes first, and the message last.
    for _ in old {
        assert_ne!(next_arrived(&mut inbox).await.uri, new.uri());
    }
    assert_eq!(next_arrived(&mut inbox).await.uri, new.uri());
    next_request(&mut inbox).await;
}

#[tokio::test]
async fn a_loss_that_is_confirmed_late_does_not_confirm_the_arrival_after_it() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let file = platform.upload(b"back again");
    platform.forget(&file);
    platform.announce_expiry(&file);
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    let lost = inbox.next().await.unwrap();
    assert!(matches!(lost.event(), Event::FileLost(_)), "{lost:?}");
    platform.remember(&file);
    let arrived = inbox.next().await.unwrap();
    assert!(
        matches!(arrived.event(), Event::FileArrived(_)),
        "{arrived:?}"
    );
    lost.confirm();
    drop(arrived);
    inbox.close().await;
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    platform.send_about("nothing in between", &[]);
    assert_eq!(next_arrived(&mut inbox).await.uri, file.uri());
}
