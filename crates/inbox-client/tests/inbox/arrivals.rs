//! Files arrive: once, whole, under their final names, and are acked after that.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use inbox_client::{Ending, Scope, SlowPeer, Timeouts};
use tempfile::TempDir;

use crate::support::PATIENT;
use crate::support::scripted::Answer;
use crate::support::stand_in::{
    Fault, StandIn, cut_after, final_name, instead, lying_in, next_arrived, until,
};

#[tokio::test]
async fn a_file_that_is_announced_arrives_and_is_acked() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    let file = platform.upload(b"hello");
    let arrived = next_arrived(&mut inbox).await;
    let files = folder.path().canonicalize().unwrap().join("files");
    assert_eq!(arrived.path, files.join(final_name(&file)));
    assert_eq!(arrived.name, "report.pdf");
    assert_eq!(arrived.original_name, "report.pdf");
    assert_eq!(arrived.mimetype, file.mimetype);
    assert_eq!(arrived.size, 5);
    assert_eq!(arrived.sha256, file.sha256);
    assert_eq!(arrived.uri, file.uri());
    let mode = fs::metadata(&arrived.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    until(|| platform.is_empty()).await;
    inbox.close().await;
    assert_eq!(
        lying_in(folder.path()),
        BTreeMap::from([(final_name(&file), b"hello".to_vec())])
    );
    assert_eq!(platform.acks(), [file.file_id]);
    assert_eq!(platform.fetches(&file), 1);
}

#[tokio::test]
async fn a_file_that_no_row_announces_arrives_because_it_is_listed() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let file = platform.hold(b"from long ago");
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    assert_eq!(next_arrived(&mut inbox).await.uri, file.uri());
    let later = platform.hold(b"nobody told of it");
    assert_eq!(next_arrived(&mut inbox).await.uri, later.uri());
}

#[tokio::test]
async fn a_fetch_that_was_cut_off_goes_on_where_it_stopped() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let bytes: Vec<_> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let file = platform.hold(&bytes);
    let only_the_rest: Fault = Box::new(|request, answer| {
        let range = request.header("range").unwrap();
        assert_eq!(range, "bytes=150000-");
        answer
    });
    platform.break_fetches(&file, [cut_after(150_000), only_the_rest]);
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    let arrived = next_arrived(&mut inbox).await;
    assert_eq!(fs::read(arrived.path).unwrap(), bytes);
    assert_eq!(platform.fetches(&file), 2);
}

#[tokio::test]
async fn nothing_has_the_final_name_until_it_is_whole() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let file = platform.upload(&vec![7; 300_000]);
    let stall: Fault = Box::new(|_, answer| answer.stalled_after(280_000));
    platform.break_fetches(&file, [stall]);
    let inbox = platform.inbox(folder.path()).open().await.unwrap();
    let partial = format!(
        ".{}.{}.part",
        file.file_id.as_uuid().simple(),
        platform.workspace().as_uuid().simple()
    );
    let half_there = || {
        lying_in(folder.path())
            .get(&partial)
            .is_some_and(|bytes| !bytes.is_empty())
    };
    until(|| folder.path().join("files").exists() && half_there()).await;
    assert_eq!(lying_in(folder.path()).len(), 1);
    inbox.close().await;
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    next_arrived(&mut inbox).await;
    assert_eq!(
        lying_in(folder.path()),
        BTreeMap::from([(final_name(&file), vec![7; 300_000])])
    );
}

#[tokio::test]
async fn a_file_that_failed_is_tried_until_it_arrives() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let file = platform.upload(b"persistence");
    let faults = [
        instead(Answer::error(503, "platform_unavailable").header("retry-after", "1")),
        instead(Answer::error(500, "internal_error")),
        instead(Answer::bytes(404, "<h1>no such page</h1>")),
        instead(Answer::bytes(403, "log in to this network first")),
        instead(Answer::bytes(302, "").header("location", "/login")),
        cut_after(0),
        cut_after(3),
    ];
    platform.break_fetches(&file, faults);
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    assert_eq!(next_arrived(&mut inbox).await.uri, file.uri());
    assert_eq!(platform.fetches(&file), 8);
}

#[tokio::test]
async fn a_digest_that_disagrees_once_is_fetched_again_from_the_beginning() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let file = platform.upload(b"right");
    let wrong: Fault = Box::new({
        let etag = format!("\"{}\"", file.sha256);
        move |_, _| Answer::bytes(200, "wrong").header("etag", &etag)
    });
    let whole: Fault = Box::new(|request, answer| {
        assert_eq!(request.header("range"), None);
        answer
    });
    platform.break_fetches(&file, [wrong, whole]);
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    let arrived = next_arrived(&mut inbox).await;
    assert_eq!(fs::read(arrived.path).unwrap(), b"right");
}

#[tokio::test]
async fn a_peer_that_trickles_does_not_keep_others_waiting() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let slow = platform.hold(&[1; 200]);
    let trickle: Fault = Box::new(|_, answer| answer.trickled(1, Duration::from_millis(20)));
    platform.break_fetches(&slow, [trickle]);
    let quick = platform.hold(b"quick");
    let timeouts = Timeouts {
        slow: SlowPeer {
            min_bytes: 100,
            window: Duration::from_millis(200),
        },
        ..PATIENT
    };
    let builder = platform.inbox(folder.path()).timeouts(timeouts);
    let builder = builder.parallel_fetches(NonZeroUsize::MIN);
    let mut inbox = builder.open().await.unwrap();
    assert_eq!(next_arrived(&mut inbox).await.uri, quick.uri());
    assert_eq!(next_arrived(&mut inbox).await.uri, slow.uri());
    assert!(platform.fetches(&slow) > 1);
}

#[tokio::test]
async fn a_backlog_of_many_pages_loses_nothing() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let mut expected = Vec::new();
    for number in 0..350_u32 {
        if number % 2 == 0 {
            platform.announce_gone(&number.to_le_bytes());
        } else if number % 25 == 0 {
            expected.push(platform.upload(&number.to_le_bytes()).uri());
        }
    }
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    let mut arrived = Vec::new();
    while arrived.len() < expected.len() {
        if let inbox_client::Event::FileArrived(file) =
            crate::support::stand_in::next_event(&mut inbox).await
        {
            arrived.push(file.uri);
        }
    }
    arrived.sort_by_key(|uri| uri.file_id);
    assert_eq!(arrived, expected);
    until(|| platform.is_empty()).await;
}

#[tokio::test]
async fn two_inboxes_that_share_a_folder_leave_each_file_there_once() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let files: Vec<_> = (0..40_u8)
        .map(|n| platform.upload(&vec![n; 5000]))
        .collect();
    let second_state = TempDir::new().unwrap();
    let first = platform.inbox(folder.path());
    let second = platform
        .inbox(folder.path())
        .state_folder(second_state.path());
    let (mut first, mut second) = (first.open().await.unwrap(), second.open().await.unwrap());
    for _ in 0..files.len() {
        next_arrived(&mut first).await;
        next_arrived(&mut second).await;
    }
    until(|| platform.is_empty()).await;
    let expected: BTreeMap<_, _> = (0..40_u8)
        .map(|n| (final_name(&files[usize::from(n)]), vec![n; 5000]))
        .collect();
    assert_eq!(lying_in(folder.path()), expected);
}

#[tokio::test]
async fn an_inbox_for_what_waits_ends_when_it_has_arrived() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let files = [
        platform.hold(b"1"),
        platform.hold(b"2"),
        platform.upload(b"3"),
    ];
    platform.send_about("for later", &[]);
    let builder = platform.inbox(folder.path()).scope(Scope::WaitingFiles);
    let mut inbox = builder.open().await.unwrap();
    for _ in files {
        next_arrived(&mut inbox).await;
    }
    assert!(inbox.next().await.is_none());
    assert_eq!(inbox.close().await, Ending::AllTaken);
    assert!(platform.is_empty());
}

#[tokio::test]
async fn an_inbox_for_what_waits_says_when_it_leaves_something() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let file = platform.hold(b"1");
    let down = || instead(Answer::error(503, "platform_unavailable"));
    platform.break_fetches(&file, (0..20).map(|_| down()));
    let builder = platform.inbox(folder.path()).scope(Scope::WaitingFiles);
    let mut inbox = builder.open().await.unwrap();
    assert!(inbox.next().await.is_none());
    assert_eq!(inbox.close().await, Ending::LeftWaiting);
}

#[tokio::test]
async fn an_inbox_for_files_leaves_messages_to_a_later_one() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    platform.send_about("before", &[]);
    let builder = platform.inbox(folder.path()).scope(Scope::Files);
    let mut inbox = builder.open().await.unwrap();
    let file = platform.upload(b"a file");
    platform.send_about("after", &[&file]);
    next_arrived(&mut inbox).await;
    assert_eq!(inbox.close().await, Ending::Stopped);
    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    for text in ["before", "after"] {
        let request = crate::support::stand_in::next_request(&mut inbox).await;
        assert_eq!(crate::support::stand_in::text_and_uris(&request).0, text);
    }
}

#[tokio::test]
async fn an_inbox_for_what_waits_says_when_the_platform_does_not_take_an_ack() {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let file = platform.hold(b"1");
    let route = platform.path(&format!("pending-uploads/{}/ack", file.file_id));
    let mismatch = Answer::error(409, "digest_mismatch");
    platform.scripted().on("POST", &route, [mismatch]);
    let builder = platform.inbox(folder.path()).scope(Scope::WaitingFiles);
    let mut inbox = builder.open().await.unwrap();
    next_arrived(&mut inbox).await;
    assert!(inbox.next().await.is_none());
    assert_eq!(inbox.close().await, Ending::LeftWaiting);
}
