//! The list of what waits, and pages of the feed: they may be long, and then take long, but not for ever.

use std::time::Duration;

use inbox_client::{CallError, FeedCursor, FeedQuery, SlowPeer, Timeouts};
use pending_uploads_core::ActivityType;

use crate::support::scripted::{Answer, Scripted};
use crate::support::{HASTY, PATIENT, workspace};

const QUERY: FeedQuery = FeedQuery {
    after: FeedCursor::Beginning,
    kind: ActivityType::A2A_RECEIVE,
    wait: Duration::ZERO,
    limit: 50,
};

/// How it goes when the question for the list, and that for the feed, are answered so.
async fn asked_for(timeouts: Timeouts, answer: &Answer) -> [Result<(), CallError>; 2] {
    let scripted = Scripted::start().await;
    let (workspace, path) = workspace(&scripted, timeouts);
    for route in ["pending-uploads", "activity"] {
        scripted.on("GET", &format!("{path}/{route}"), [answer.clone()]);
    }
    let (list, page) = tokio::join!(workspace.waiting(), workspace.feed(&QUERY));
    [list.map(drop), page.map(drop)]
}

/// An empty list, which is as long as that.
fn empty(bytes: usize) -> Vec<u8> {
    let mut body = vec![b' '; bytes - 2];
    body.extend_from_slice(b"[]");
    body
}

#[tokio::test]
async fn one_that_goes_on_may_take_longer_than_an_answer() {
    let (pieces, pause) = (10, (HASTY.connect + HASTY.answer) / 8);
    let timeouts = Timeouts {
        idle: PATIENT.idle,
        ..HASTY
    };
    let answer = Answer::bytes(200, empty(pieces * 100)).trickled(100, pause);
    for answer in [answer.clone(), answer.chunked()] {
        for read in asked_for(timeouts, &answer).await {
            read.unwrap();
        }
    }
}

#[tokio::test]
async fn one_that_falls_silent_is_not_waited_for() {
    let answer = Answer::bytes(200, empty(100));
    for answer in [
        answer.clone().stalled_after(0),
        answer.clone().stalled_after(50),
        answer.claiming(101),
    ] {
        for read in asked_for(HASTY, &answer).await {
            assert!(matches!(read, Err(CallError::TimedOut)), "{read:?}");
        }
    }
}

#[tokio::test]
async fn one_that_trickles_is_too_slow() {
    let slow = SlowPeer {
        min_bytes: 100,
        window: Duration::from_millis(500),
    };
    let strict = Timeouts { slow, ..PATIENT };
    let answer = Answer::bytes(200, b" ".repeat(10)).trickled(1, slow.window / 10);
    for read in asked_for(strict, &answer.endless()).await {
        assert!(matches!(read, Err(CallError::TooSlow)), "{read:?}");
    }
}

#[tokio::test]
async fn one_that_breaks_off_is_no_list() {
    let answer = Answer::bytes(200, empty(100));
    for answer in [
        answer.clone().closed_after(0),
        answer.clone().closed_after(100).claiming(101),
        answer.clone().chunked().closed_after(100),
        answer.reset_after(50),
    ] {
        for read in asked_for(PATIENT, &answer).await {
            assert!(matches!(read, Err(CallError::BrokenOff)), "{read:?}");
        }
    }
}

#[tokio::test]
async fn a_poll_that_has_its_head_at_once_may_wait_before_its_rows() {
    let scripted = Scripted::start().await;
    let (workspace, path) = workspace(&scripted, HASTY);
    let late = Answer::bytes(200, "[]").body_delayed(2 * (HASTY.connect + HASTY.answer));
    scripted.on("GET", &format!("{path}/activity"), [late]);
    let waiting = FeedQuery {
        wait: Duration::from_secs(10),
        ..QUERY
    };
    assert!(workspace.feed(&waiting).await.unwrap().is_empty());
    let error = workspace.feed(&QUERY).await.unwrap_err();
    assert!(matches!(error, CallError::TimedOut), "{error:?}");
}
