//! What is in the way is said, waited for, and not spun on.

use std::sync::Arc;
use std::time::Duration;

use inbox_client::{Condition, FetchLimits, Inbox, RetryPolicy, SlowPeer, Timeouts};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::support::Tokens;
use crate::support::scripted::Answer;
use crate::support::stand_in::{
    StandIn, instead, lying_in, next_arrived, next_lost, next_request, until,
};

async fn becomes(inbox: &Inbox, condition: Condition) {
    let mut conditions = inbox.conditions();
    conditions.wait_for(|now| *now == condition).await.unwrap();
}

#[tokio::test]
async fn a_token_that_is_refused_is_said_and_the_next_one_tried() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let file = platform.upload(b"worth the wait");
    let list = platform.path("pending-uploads");
    let feed = platform.path("activity");
    for path in [&list, &feed] {
        let unauthorized = Answer::error(401, "unauthorized");
        platform.scripted().on("GET", path, [unauthorized]);
    }
    let tokens = Tokens::of(&["an-old-token", "a-newer-token"]);
    let builder = platform.inbox(folder.path()).token(tokens.clone());
    let mut inbox = builder.open().await.unwrap();
    becomes(&inbox, Condition::Unauthorized).await;
    assert_eq!(platform.fetches(&file), 0);
    platform.serve_list();
    platform.serve_feed();
    assert_eq!(next_arrived(&mut inbox).await.uri, file.uri());
    becomes(&inbox, Condition::Working).await;
    assert!(tokens.asked() >= 2);
}

#[tokio::test]
async fn a_platform_that_is_away_is_waited_for() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let list = platform.path("pending-uploads");
    let feed = platform.path("activity");
    for path in [&list, &feed] {
        let away = Answer::error(503, "platform_unavailable");
        platform.scripted().on("GET", path, [away]);
    }
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    becomes(&inbox, Condition::Unreachable).await;
    let file = platform.upload(b"later");
    platform.serve_list();
    platform.serve_feed();
    assert_eq!(next_arrived(&mut inbox).await.uri, file.uri());
    becomes(&inbox, Condition::Working).await;
}

#[tokio::test]
async fn a_full_disk_pauses_fetching_and_says_so() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let file = platform.upload(b"no room");
    let limits = FetchLimits {
        min_free_bytes: u64::MAX,
        ..FetchLimits::default()
    };
    let builder = platform.inbox(folder.path()).limits(limits);
    let inbox = builder.open().await.unwrap();
    becomes(&inbox, Condition::DiskFull).await;
    inbox.close().await;
    assert_eq!(platform.fetches(&file), 0);
    let whole = |bytes: &Vec<u8>| !bytes.is_empty();
    assert!(!lying_in(folder.path()).values().any(whole));
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    assert_eq!(next_arrived(&mut inbox).await.uri, file.uri());
}

#[tokio::test]
async fn dropping_an_inbox_stops_it() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let inbox = platform.inbox(folder.path()).open().await.unwrap();
    becomes(&inbox, Condition::Working).await;
    let conditions = inbox.conditions();
    drop(inbox);
    let ended = || conditions.has_changed().is_err();
    until(ended).await;
    // Whatever is left lets go of the state soon after.
    for _ in 0..2000 {
        if platform.inbox(folder.path()).open().await.is_ok() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("the state is in use for ever");
}

#[tokio::test]
async fn an_inbox_is_also_a_stream_of_events() {
    use futures_util::StreamExt;
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let files = [platform.upload(b"1"), platform.upload(b"2")];
    let inbox = platform.inbox(folder.path()).open().await.unwrap();
    let events: Vec<_> = inbox.take(files.len()).collect().await;
    assert_eq!(events.len(), 2);
    drop(Arc::new(events));
}

#[tokio::test]
async fn a_message_does_not_wait_for_room_for_a_file_that_is_gone_meanwhile() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let file = platform.upload(b"no room");
    platform.send_about("do not wait for ever", &[&file]);
    let limits = FetchLimits {
        min_free_bytes: u64::MAX,
        ..FetchLimits::default()
    };
    let builder = platform.inbox(folder.path()).limits(limits);
    let mut inbox = builder.open().await.unwrap();
    becomes(&inbox, Condition::DiskFull).await;
    platform.forget(&file);
    assert_eq!(next_lost(&mut inbox).await.uri, file.uri());
    next_request(&mut inbox).await;
    becomes(&inbox, Condition::Working).await;
}

#[tokio::test]
async fn a_folder_that_is_removed_is_made_again() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    becomes(&inbox, Condition::Working).await;
    std::fs::remove_dir_all(folder.path().join("files")).unwrap();
    let file = platform.upload(b"where to");
    assert_eq!(next_arrived(&mut inbox).await.uri, file.uri());
    inbox.close().await;
    assert_eq!(lying_in(folder.path()).len(), 1);
}

#[tokio::test]
async fn nobody_has_to_have_a_deadline() {
    const NEVER: Duration = Duration::MAX;
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let file = platform.upload(b"in its own time");
    let timeouts = Timeouts {
        connect: NEVER,
        answer: NEVER,
        idle: NEVER,
        wait: Duration::ZERO,
        slow: SlowPeer {
            min_bytes: 0,
            window: NEVER,
        },
    };
    let retry = RetryPolicy {
        first: NEVER,
        longest: NEVER,
        longest_asked: NEVER,
    };
    let builder = platform.inbox(folder.path()).timeouts(timeouts);
    let builder = builder.retry(retry).reconcile_every(NEVER);
    let mut inbox = builder.open().await.unwrap();
    assert_eq!(next_arrived(&mut inbox).await.uri, file.uri());
    until(|| platform.is_empty()).await;
    inbox.close().await;
}

#[tokio::test]
async fn a_feed_that_is_broken_keeps_no_listed_file_waiting() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let feed = platform.path("activity");
    let broken = Answer::error(500, "internal_error");
    platform.scripted().on("GET", &feed, [broken]);
    let file = platform.hold(b"the list is the truth");
    let fault = || instead(Answer::error(500, "internal_error"));
    platform.break_fetches(&file, [fault(), fault(), fault()]);
    let builder = platform.inbox(folder.path());
    let builder = builder.reconcile_every(Duration::from_hours(1));
    let mut inbox = builder.open().await.unwrap();
    assert_eq!(next_arrived(&mut inbox).await.uri, file.uri());
    until(|| platform.is_empty()).await;
    becomes(&inbox, Condition::Unreachable).await;
}
