//! Files that do not arrive: each is told once, with its reason, and nothing waits for it for ever.

use std::num::NonZeroU64;
use std::time::Duration;

use inbox_client::{Condition, FetchLimits, LostReason};
use serde_json::json;
use tempfile::TempDir;

use crate::support::scripted::Answer;
use crate::support::stand_in::{
    Fault, StandIn, instead, lying_in, next_arrived, next_lost, next_request, text_and_uris, until,
};

fn at_most(bytes: u64) -> FetchLimits {
    FetchLimits {
        max_file_bytes: NonZeroU64::new(bytes).unwrap(),
        min_free_bytes: 0,
    }
}

#[tokio::test]
async fn a_file_that_is_not_there_any_more_is_gone() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    platform.is_followed().await;
    let file = platform.announce_gone(b"taken by somebody else");
    let lost = next_lost(&mut inbox).await;
    assert_eq!(lost.reason, LostReason::Gone);
    assert_eq!(lost.uri, file.uri());
    assert_eq!(lost.name.as_deref(), Some("report.pdf"));
    assert_eq!(lost.size, Some(22));
}

#[tokio::test]
async fn what_was_gone_before_the_first_start_is_nobodys_loss() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let taken = platform.announce_gone(b"taken long ago");
    let expired = platform.announce_gone(b"nobody came");
    platform.announce_expiry(&expired);
    platform.send_about("about both", &[&taken, &expired]);
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    assert_eq!(next_lost(&mut inbox).await.uri, expired.uri());
    let (_, uris) = text_and_uris(&next_request(&mut inbox).await);
    assert_eq!(uris, [taken.uri().to_string(), expired.uri().to_string()]);
    assert_eq!(platform.fetches(&taken), 0);
}

#[tokio::test]
async fn a_file_that_expired_is_said_to_be_expired() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let file = platform.announce_gone(b"nobody came");
    platform.announce_expiry(&file);
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    let lost = next_lost(&mut inbox).await;
    assert_eq!((lost.reason, lost.uri), (LostReason::Expired, file.uri()));
}

#[tokio::test]
async fn a_file_over_the_limit_is_refused_before_any_byte_of_it_comes() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let file = platform.upload(&[0; 101]);
    let builder = platform.inbox(folder.path()).limits(at_most(100));
    let mut inbox = builder.open().await.unwrap();
    assert_eq!(next_lost(&mut inbox).await.reason, LostReason::TooLarge);
    assert_eq!(platform.fetches(&file), 0);
    inbox.close().await;
    assert!(lying_in(folder.path()).is_empty());
    assert!(platform.acks().is_empty());

    let builder = platform.inbox(folder.path()).limits(at_most(101));
    let mut inbox = builder.open().await.unwrap();
    assert_eq!(next_arrived(&mut inbox).await.uri, file.uri());
}

#[tokio::test]
async fn a_file_is_lost_when_its_bytes_are_wrong_every_time() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let file = platform.upload(b"right");
    let wrong = || -> Fault {
        let etag = format!("\"{}\"", file.sha256);
        Box::new(move |_, _| Answer::bytes(200, "wrong").header("etag", &etag))
    };
    platform.break_fetches(&file, (0..50).map(|_| wrong()));
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    assert_eq!(next_lost(&mut inbox).await.reason, LostReason::Damaged);
    assert_eq!(platform.fetches(&file), 5);
    // It is listed still, and left alone.
    let next = platform.upload(b"another");
    assert_eq!(next_arrived(&mut inbox).await.uri, next.uri());
    assert_eq!(platform.fetches(&file), 5);
    inbox.close().await;
    assert_eq!(lying_in(folder.path()).len(), 1);
}

#[tokio::test]
async fn a_file_that_the_platform_refuses_is_lost() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let file = platform.upload(b"not for you");
    let refused = || instead(Answer::error(403, "forbidden"));
    platform.break_fetches(&file, (0..50).map(|_| refused()));
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    assert_eq!(next_lost(&mut inbox).await.reason, LostReason::Refused);
    assert_eq!(platform.fetches(&file), 5);
}

#[tokio::test]
async fn a_file_whose_announcement_cannot_be_read_is_lost() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    let id = "22222222-2222-4222-8222-222222222222";
    platform.announce(&json!({"file_id": id, "name": "x", "size": -1}));
    let lost = next_lost(&mut inbox).await;
    assert_eq!(lost.reason, LostReason::Refused);
    assert_eq!(lost.uri.file_id.to_string(), id);
    assert_eq!(lost.name, None);
}

#[tokio::test]
async fn a_lost_file_that_is_listed_again_arrives_after_all() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    platform.is_followed().await;
    let file = platform.announce_gone(b"back again");
    assert_eq!(next_lost(&mut inbox).await.reason, LostReason::Gone);
    platform.remember(&file);
    assert_eq!(next_arrived(&mut inbox).await.uri, file.uri());
    until(|| platform.is_empty()).await;
}

#[tokio::test]
async fn what_another_inbox_left_half_done_is_cleared_away_when_the_file_is_gone() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let file = platform.upload(&vec![1; 300_000]);
    let stall: Fault = Box::new(|_, answer| answer.stalled_after(280_000));
    platform.break_fetches(&file, [stall]);
    let inbox = platform.inbox(folder.path()).open().await.unwrap();
    until(|| folder.path().join("files").exists() && !lying_in(folder.path()).is_empty()).await;
    inbox.close().await;
    platform.forget(&file);
    let inbox = platform.inbox(folder.path()).open().await.unwrap();
    until(|| lying_in(folder.path()).is_empty()).await;
    inbox.close().await;
}

#[tokio::test]
async fn a_file_whose_announcement_cannot_be_read_arrives_when_the_list_can() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let builder = platform.inbox(folder.path());
    let builder = builder.reconcile_every(Duration::from_hours(1));
    let mut inbox = builder.open().await.unwrap();
    let mut conditions = inbox.conditions();
    let working = conditions.wait_for(|now| *now == Condition::Working).await;
    drop(working.unwrap());
    let file = platform.hold(b"the list says more");
    platform.announce(&json!({"file_id": file.file_id.to_string(), "name": "x", "size": 18}));
    assert_eq!(next_arrived(&mut inbox).await.uri, file.uri());
}
