//! Files that the list names in a way that cannot be read: they wait, so that none of them is told as
//! gone, nor left without a word.

use std::time::Duration;

use inbox_client::{Ending, Inbox, LostReason, Scope, WaitingFile};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::said;
use crate::support::scripted::Answer;
use crate::support::stand_in::{StandIn, instead, next_arrived, next_lost, next_request};

/// Lists these files, of each of which only the id can be read, and `readable`.
fn list_unreadably(platform: &StandIn, unreadable: &[&WaitingFile], readable: &[&WaitingFile]) {
    let strange = unreadable.iter().map(|file| {
        let mut said = said(file);
        said["size"] = json!("as large as it is");
        said
    });
    let list: Vec<Value> = strange
        .chain(readable.iter().map(|file| said(file)))
        .collect();
    let answer = Answer::json(200, &json!(list));
    let path = platform.path("pending-uploads");
    platform.scripted().on("GET", &path, [answer]);
}

async fn is_refused(inbox: &mut Inbox, file: &WaitingFile) {
    let lost = next_lost(inbox).await;
    assert_eq!((lost.reason, lost.uri), (LostReason::Refused, file.uri()));
    assert_eq!((lost.name, lost.size), (None, None));
}

#[tokio::test]
async fn an_inbox_for_what_waits_tells_what_it_cannot_take() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let (strange, file) = (platform.hold(b"strange"), platform.hold(b"as usual"));
    list_unreadably(&platform, &[&strange], &[]);
    let open = || platform.inbox(folder.path()).scope(Scope::WaitingFiles);
    let mut inbox = open().open().await.unwrap();
    is_refused(&mut inbox, &strange).await;
    assert!(inbox.next().await.is_none());
    assert_eq!(inbox.close().await, Ending::LeftWaiting);
    // It is not told again, and arrives when it can be read after all.
    list_unreadably(&platform, &[&strange], &[&file]);
    let mut inbox = open().open().await.unwrap();
    assert_eq!(next_arrived(&mut inbox).await.uri, file.uri());
    assert!(inbox.next().await.is_none());
    assert_eq!(inbox.close().await, Ending::LeftWaiting);
    platform.serve_list();
    let mut inbox = open().open().await.unwrap();
    assert_eq!(next_arrived(&mut inbox).await.uri, strange.uri());
    assert!(inbox.next().await.is_none());
    assert_eq!(inbox.close().await, Ending::AllTaken);
}

#[tokio::test]
async fn a_file_that_nothing_tells_readably_is_refused() {
    for scope in [Scope::Everything, Scope::Files] {
        let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
        let strange = platform.hold(b"strange");
        list_unreadably(&platform, &[&strange], &[]);
        let builder = platform.inbox(folder.path()).scope(scope);
        let mut inbox = builder.open().await.unwrap();
        is_refused(&mut inbox, &strange).await;
        assert_eq!(platform.fetches(&strange), 0);
    }
}

#[tokio::test]
async fn a_message_about_a_file_that_nothing_tells_readably_does_not_call_it_gone() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let strange = platform.hold(b"strange");
    platform.send_about("look at this", &[&strange]);
    list_unreadably(&platform, &[&strange], &[]);
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    is_refused(&mut inbox, &strange).await;
    next_request(&mut inbox).await;
}

#[tokio::test]
async fn files_that_the_feed_tells_readably_arrive_whatever_the_list_says() {
    // One alone, and so many that the list is asked before they are fetched.
    for count in [1, 20] {
        let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
        let mut files: Vec<_> = (0..count).map(|_| platform.upload(b"readable")).collect();
        let all: Vec<_> = files.iter().collect();
        list_unreadably(&platform, &all, &[]);
        let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
        while !files.is_empty() {
            let arrived = next_arrived(&mut inbox).await;
            files.retain(|file| file.uri() != arrived.uri);
        }
    }
}

#[tokio::test]
async fn a_file_is_not_gone_that_the_list_names_and_cannot_be_fetched_at_once() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let file = platform.upload(b"not at once");
    list_unreadably(&platform, &[&file], &[]);
    let faults = (0..3).flat_map(|_| {
        let away = instead(Answer::error(404, "not_found"));
        let broken = instead(Answer::error(500, "internal_error").delayed(DELAY));
        [away, broken]
    });
    platform.break_fetches(&file, faults);
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    assert_eq!(next_arrived(&mut inbox).await.uri, file.uri());
}

/// So long that a list comes while a fetch fails.
const DELAY: Duration = Duration::from_millis(150);
