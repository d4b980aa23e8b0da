//! A platform that behaves oddly is not asked without end.

use std::time::Duration;

use inbox_client::{Ending, RetryPolicy, Scope};
use pending_uploads_core::{ActivityId, FileId, PendingUri};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::support::scripted::Answer;
use crate::support::stand_in::{StandIn, instead, next_lost, next_request, until};

/// Slow enough to tell what is paced from what is not.
const PACED: RetryPolicy = RetryPolicy {
    first: Duration::from_millis(50),
    longest: Duration::from_millis(50),
    longest_asked: Duration::from_millis(50),
};
/// While so many lists were asked for, which takes at least twice [`PACED`] for each...
const LISTS: usize = 10;
/// ...so many polls are too many. Without a pace there are thousands.
const TOO_MANY: usize = 100;

fn asked(platform: &StandIn, route: &str) -> usize {
    let path = platform.path(route);
    let requests = platform.scripted().requests();
    requests
        .iter()
        .filter(|request| request.path == path)
        .count()
}

async fn is_left_in_peace(platform: &StandIn, scope: Scope) {
    let folder = TempDir::new().unwrap();
    let builder = platform.inbox(folder.path()).retry(PACED).scope(scope);
    let inbox = builder.reconcile_every(PACED.first).open().await.unwrap();
    until(|| asked(platform, "pending-uploads") > LISTS).await;
    inbox.close().await;
    let polls = asked(platform, "activity");
    assert!((2..TOO_MANY).contains(&polls), "{polls} polls");
}

#[tokio::test]
async fn a_platform_that_does_not_wait_is_not_polled_at_once_again() {
    for scope in [Scope::Everything, Scope::Files] {
        let platform = StandIn::start().await;
        let nothing = Answer::json(200, &json!([]));
        platform
            .scripted()
            .on("GET", &platform.path("activity"), [nothing]);
        is_left_in_peace(&platform, scope).await;
    }
}

#[tokio::test]
async fn a_platform_that_knows_no_cursor_is_not_asked_at_once_again() {
    for scope in [Scope::Everything, Scope::Files] {
        let platform = StandIn::start().await;
        platform.send_about("the only one", &[]);
        let replaced = json!([{
            "id": ActivityId::generate().to_string(), "seq": 1, "method": "message/send",
            "request_body": {}, "created_at": "2026-05-04T12:00:00Z",
        }]);
        let path = platform.path("activity");
        platform.scripted().on_each("GET", &path, move |request| {
            match request.parameter("since_id") {
                None | Some("00000000-0000-0000-0000-000000000000") => Answer::json(200, &replaced),
                Some(_) => Answer::error(410, "cursor_gone"),
            }
        });
        is_left_in_peace(&platform, scope).await;
    }
}

#[tokio::test]
async fn a_platform_that_answers_the_same_page_for_ever_is_not_asked_at_once_again() {
    for scope in [Scope::Everything, Scope::Files] {
        let platform = StandIn::start().await;
        let page = json!([{
            "id": ActivityId::generate().to_string(), "seq": 1, "method": "message/send",
            "request_body": {}, "created_at": "2026-05-04T12:00:00Z",
        }]);
        let path = platform.path("activity");
        let answer = Answer::json(200, &page);
        platform.scripted().on("GET", &path, [answer]);
        is_left_in_peace(&platform, scope).await;
    }
}

#[tokio::test]
async fn a_platform_that_asks_to_be_left_alone_is_not_asked_for_each_file_that_waits() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let files: Vec<_> = (0..40_u8).map(|n| platform.hold(&[n])).collect();
    for file in &files {
        let later = Answer::error(429, "too_many_requests").header("retry-after", "3600");
        platform.break_fetches(file, [instead(later)]);
    }
    let retry = RetryPolicy {
        longest_asked: Duration::from_hours(1),
        ..PACED
    };
    let builder = platform.inbox(folder.path()).retry(retry);
    let inbox = builder.reconcile_every(PACED.first).open().await.unwrap();
    until(|| asked(&platform, "pending-uploads") > LISTS).await;
    inbox.close().await;
    let fetches: usize = files.iter().map(|file| platform.fetches(file)).sum();
    assert!((1..=4).contains(&fetches), "{fetches} fetches");
}

/// Runs an inbox that ends on a platform that asks to be left alone for an hour, and answers how it
/// ended.
async fn fetch_once(platform: &StandIn) -> Ending {
    let folder = TempDir::new().unwrap();
    let retry = RetryPolicy {
        longest_asked: Duration::from_hours(1),
        ..PACED
    };
    let builder = platform.inbox(folder.path()).retry(retry);
    let mut inbox = builder.scope(Scope::WaitingFiles).open().await.unwrap();
    let ended = async {
        while let Some(event) = inbox.next().await {
            event.confirm();
        }
        inbox.close().await
    };
    timeout(Duration::from_mins(1), ended).await.unwrap()
}

#[tokio::test]
async fn an_inbox_that_ends_leaves_a_platform_at_once_that_asks_to_be_left_alone_for_long() {
    let platform = StandIn::start().await;
    let later = Answer::error(429, "too_many_requests").header("retry-after", "3600");
    let files: Vec<_> = (0..40_u8).map(|n| platform.hold(&[n])).collect();
    for file in &files {
        platform.break_fetches(file, [instead(later.clone())]);
    }
    assert_eq!(fetch_once(&platform).await, Ending::LeftWaiting);
    let fetches: usize = files.iter().map(|file| platform.fetches(file)).sum();
    assert!((1..=4).contains(&fetches), "{fetches} fetches");
}

#[tokio::test]
async fn an_inbox_that_ends_leaves_acks_that_have_to_wait_for_long() {
    let platform = StandIn::start().await;
    let later = Answer::error(429, "too_many_requests").header("retry-after", "3600");
    let routes: Vec<_> = (0..40_u8)
        .map(|n| format!("pending-uploads/{}/ack", platform.hold(&[n]).file_id))
        .collect();
    for route in &routes {
        let path = platform.path(route);
        platform.scripted().on("POST", &path, [later.clone()]);
    }
    assert_eq!(fetch_once(&platform).await, Ending::LeftWaiting);
    let acks: usize = routes.iter().map(|route| asked(&platform, route)).sum();
    assert!((1..=4).contains(&acks), "{acks} acks");
}

#[tokio::test]
async fn a_message_that_mentions_many_unknown_files_costs_one_list() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let builder = platform.inbox(folder.path());
    let builder = builder.reconcile_every(Duration::from_hours(1));
    let mut inbox = builder.open().await.unwrap();
    let uri = |_| PendingUri {
        workspace_id: platform.workspace(),
        file_id: FileId::generate(),
    };
    let parts: Vec<_> = (0..40)
        .map(uri)
        .map(|uri| json!({"url": uri.to_string()}))
        .collect();
    platform.send(&json!({"parts": parts}));
    for _ in &parts {
        next_lost(&mut inbox).await;
    }
    next_request(&mut inbox).await;
    let lists = asked(&platform, "pending-uploads");
    assert!(lists <= 3, "{lists} lists");
}
