//! A file's bytes on their way: where they begin, how they are checked, and how long they are waited
//! for.

use std::time::Duration;

use inbox_client::{CallError, Content, PlatformWorkspace, SlowPeer, Timeouts, WaitingFile};

use crate::support::scripted::{Answer, Request, Scripted};
use crate::support::{HASTY, PATIENT, waiting_file, workspace};

/// A file, and the platform that it waits on.
struct Waiting {
    scripted: Scripted,
    workspace: PlatformWorkspace,
    file: WaitingFile,
    path: String,
}

impl Waiting {
    async fn of(bytes: &[u8], timeouts: Timeouts) -> Self {
        let scripted = Scripted::start().await;
        let (workspace, path) = workspace(&scripted, timeouts);
        let file = waiting_file(workspace.id(), bytes);
        let path = format!("{path}/pending-uploads/{}/content", file.file_id);
        Self {
            scripted,
            workspace,
            file,
            path,
        }
    }

    /// One that the platform serves as it should.
    async fn served(bytes: &'static [u8]) -> Self {
        let waiting = Self::of(bytes, PATIENT).await;
        let tag = waiting.tag();
        let serve = move |request: &Request| Answer::ranged(request, bytes, &tag);
        waiting.scripted.on_each("GET", &waiting.path, serve);
        waiting
    }

    /// One that is answered so.
    async fn answered(bytes: &[u8], timeouts: Timeouts, answer: Answer) -> Self {
        let waiting = Self::of(bytes, timeouts).await;
        waiting.scripted.on("GET", &waiting.path, [answer]);
        waiting
    }

    fn tag(&self) -> String {
        format!("\"{}\"", self.file.sha256)
    }

    async fn content(&self, from: u64) -> Result<Content, CallError> {
        self.workspace.content(&self.file, from).await
    }

    /// The bytes that come from the start on, and how they end.
    async fn bytes(&self) -> (Vec<u8>, Result<(), CallError>) {
        match self.content(0).await {
            Ok(content) => all(content).await,
            Err(error) => (Vec::new(), Err(error)),
        }
    }
}

async fn all(mut content: Content) -> (Vec<u8>, Result<(), CallError>) {
    let mut bytes = Vec::new();
    loop {
        match content.next().await {
            Ok(Some(piece)) => bytes.extend_from_slice(&piece),
            Ok(None) => return (bytes, Ok(())),
            Err(error) => return (bytes, Err(error)),
        }
    }
}

#[tokio::test]
async fn a_file_comes_whole() {
    let waiting = Waiting::served(b"0123456789").await;
    let content = waiting.content(0).await.unwrap();
    assert_eq!(content.from(), 0);
    let (bytes, end) = all(content).await;
    assert!(end.is_ok(), "{end:?}");
    assert_eq!(bytes, b"0123456789");
    let request = waiting.scripted.request();
    assert_eq!(request.header("range"), None);
    assert_eq!(request.header("if-range"), None);
}

#[tokio::test]
async fn a_file_goes_on_where_it_stopped_if_it_still_is_that_file() {
    let waiting = Waiting::served(b"0123456789").await;
    let content = waiting.content(4).await.unwrap();
    assert_eq!(content.from(), 4);
    let (bytes, end) = all(content).await;
    assert!(end.is_ok(), "{end:?}");
    assert_eq!(bytes, b"456789");
    let request = waiting.scripted.request();
    assert_eq!(request.header("range"), Some("bytes=4-"));
    assert_eq!(request.header("if-range"), Some(waiting.tag().as_str()));
}

#[tokio::test]
async fn a_platform_that_knows_no_ranges_begins_at_the_beginning() {
    let answer = Answer::bytes(200, "0123456789");
    let waiting = Waiting::answered(b"0123456789", PATIENT, answer).await;
    let content = waiting.content(4).await.unwrap();
    assert_eq!(content.from(), 0);
    assert_eq!(all(content).await.0, b"0123456789");
}

#[tokio::test]
async fn a_part_may_end_before_the_file() {
    let answer = Answer::bytes(206, "45").header("content-range", "bytes 4-5/10");
    let waiting = Waiting::answered(b"0123456789", PATIENT, answer).await;
    let (bytes, end) = all(waiting.content(4).await.unwrap()).await;
    assert_eq!(bytes, b"45");
    assert!(matches!(end, Err(CallError::BrokenOff)), "{end:?}");
}

#[tokio::test]
async fn a_part_that_was_not_asked_for_is_not_taken() {
    let part = |range: &str| Answer::bytes(206, "456789").header("content-range", range);
    for (from, answer) in [
        (4, part("bytes 3-8/10")),
        (4, part("bytes 4-9/11")),
        (4, part("bytes 4-9/*")),
        (4, part("nonsense")),
        (4, Answer::bytes(206, "456789")),
        (0, part("bytes 0-5/10")),
        (4, Answer::bytes(204, "")),
    ] {
        let waiting = Waiting::answered(b"0123456789", PATIENT, answer).await;
        let error = waiting.content(from).await.unwrap_err();
        assert!(matches!(error, CallError::Malformed { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_range_behind_the_end_of_the_file_is_an_error_of_its_own() {
    let waiting = Waiting::served(b"0123456789").await;
    let error = waiting.content(10).await.unwrap_err();
    assert!(matches!(error, CallError::RangeNotSatisfiable), "{error:?}");
}

#[tokio::test]
async fn a_file_that_is_not_there_is_told_from_a_path_that_is_not() {
    let waiting = Waiting::of(b"0123456789", PATIENT).await;
    let error = waiting.content(0).await.unwrap_err();
    let refused = matches!(error, CallError::Refused { status: 404, .. });
    assert!(refused, "{error:?}");
    let gone = [Answer::error(404, "not_found")];
    waiting.scripted.on("GET", &waiting.path, gone);
    let error = waiting.content(0).await.unwrap_err();
    assert!(matches!(error, CallError::NotFound), "{error:?}");
}

#[tokio::test]
async fn another_entity_tag_is_another_file() {
    let waiting = Waiting::of(b"0123456789", PATIENT).await;
    let answer = |tag: &str| Answer::bytes(200, "0123456789").header("etag", tag);
    for tag in ["\"x\"", "", &waiting.file.sha256.to_string()] {
        waiting.scripted.on("GET", &waiting.path, [answer(tag)]);
        let error = waiting.content(0).await.unwrap_err();
        assert!(matches!(error, CallError::Changed), "{tag}: {error:?}");
    }
    for tag in [waiting.tag(), format!("W/{}", waiting.tag())] {
        waiting.scripted.on("GET", &waiting.path, [answer(&tag)]);
        assert_eq!(waiting.bytes().await.0, b"0123456789");
    }
}

#[tokio::test]
async fn bytes_that_somebody_encoded_on_the_way_are_not_taken() {
    let answer = Answer::bytes(200, "0123456789").header("content-encoding", "gzip");
    let waiting = Waiting::answered(b"0123456789", PATIENT, answer).await;
    let error = waiting.content(0).await.unwrap_err();
    assert!(matches!(error, CallError::Malformed { .. }), "{error:?}");
}

#[tokio::test]
async fn never_more_bytes_are_handed_out_than_were_announced() {
    let long = Answer::bytes(200, "0123456789+");
    for answer in [
        long.clone(),
        long.clone().chunked(),
        long.clone().chunked().trickled(5, Duration::ZERO),
        long.clone().chunked().trickled(1, Duration::from_millis(1)),
        long.endless(),
    ] {
        let waiting = Waiting::answered(b"0123456789", PATIENT, answer).await;
        let (bytes, end) = waiting.bytes().await;
        assert!(b"0123456789".starts_with(&bytes), "{bytes:?}");
        assert!(matches!(end, Err(CallError::Malformed { .. })), "{end:?}");
    }
}

#[tokio::test]
async fn a_file_that_ends_before_its_length_has_broken_off() {
    let whole = Answer::bytes(200, "0123456789");
    for answer in [
        whole.clone().closed_after(4),
        whole.clone().reset_after(4),
        whole.clone().chunked().closed_after(4),
        Answer::bytes(200, "0123"),
        Answer::bytes(200, "0123").chunked(),
        Answer::bytes(200, ""),
    ] {
        let waiting = Waiting::answered(b"0123456789", PATIENT, answer).await;
        let (bytes, end) = waiting.bytes().await;
        assert!(b"0123".starts_with(&bytes), "{bytes:?}");
        assert!(matches!(end, Err(CallError::BrokenOff)), "{end:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_whole_is_whole_however_its_answer_ends() {
    let whole = Answer::bytes(200, "0123456789");
    for answer in [
        whole.clone().chunked().closed_after(10),
        whole.clone().chunked().stalled_after(10),
        whole.clone().claiming(10).stalled_after(10),
    ] {
        let waiting = Waiting::answered(b"0123456789", HASTY, answer).await;
        let (bytes, end) = waiting.bytes().await;
        assert!(end.is_ok(), "{end:?}");
        assert_eq!(bytes, b"0123456789");
    }
}

#[tokio::test]
async fn a_platform_that_falls_silent_is_not_waited_for() {
    let answer = Answer::bytes(200, "0123456789").stalled_after(4);
    let waiting = Waiting::answered(b"0123456789", HASTY, answer).await;
    let (bytes, end) = waiting.bytes().await;
    assert_eq!(bytes, b"0123");
    assert!(matches!(end, Err(CallError::TimedOut)), "{end:?}");
}

/// Ten bytes within half a second are wanted.
const STRICT: Timeouts = Timeouts {
    slow: SlowPeer {
        min_bytes: 10,
        window: Duration::from_millis(500),
    },
    ..PATIENT
};

#[tokio::test]
async fn a_platform_that_trickles_is_too_slow() {
    let file = [7; 100];
    let often = STRICT.slow.window / 4;
    let answer = Answer::bytes(200, file).trickled(1, often);
    let waiting = Waiting::answered(&file, STRICT, answer).await;
    let (bytes, end) = waiting.bytes().await;
    assert!(matches!(end, Err(CallError::TooSlow)), "{end:?}");
    assert!((1..10).contains(&bytes.len()), "{bytes:?}");
}

#[tokio::test]
async fn a_platform_that_falls_silent_is_too_slow_at_the_end_of_the_window() {
    let answer = Answer::bytes(200, "0123456789").stalled_after(4);
    let waiting = Waiting::answered(b"0123456789", STRICT, answer).await;
    let (bytes, end) = waiting.bytes().await;
    assert_eq!(bytes, b"0123");
    assert!(matches!(end, Err(CallError::TooSlow)), "{end:?}");
}

#[tokio::test]
async fn a_platform_that_is_just_fast_enough_is_waited_for() {
    let file = [7; 240];
    let strict = Timeouts {
        slow: SlowPeer {
            window: Duration::from_secs(1),
            ..STRICT.slow
        },
        ..STRICT
    };
    let answer = Answer::bytes(200, file).trickled(30, strict.slow.window / 4);
    let waiting = Waiting::answered(&file, strict, answer).await;
    let (bytes, end) = waiting.bytes().await;
    assert!(end.is_ok(), "{end:?}");
    assert_eq!(bytes, file);
}

#[tokio::test]
async fn without_a_window_or_bytes_to_ask_for_a_platform_may_trickle() {
    let file = [7; 20];
    for (min_bytes, window) in [(10, Duration::ZERO), (0, Duration::from_nanos(1))] {
        let slow = SlowPeer { min_bytes, window };
        let timeouts = Timeouts { slow, ..HASTY };
        let answer = Answer::bytes(200, file).trickled(1, Duration::from_millis(20));
        let waiting = Waiting::answered(&file, timeouts, answer).await;
        let (bytes, end) = waiting.bytes().await;
        assert!(end.is_ok(), "{end:?}");
        assert_eq!(bytes, file);
        // Who falls silent is left all the same.
        let answer = Answer::bytes(200, file).stalled_after(4);
        let waiting = Waiting::answered(&file, timeouts, answer).await;
        let (bytes, end) = waiting.bytes().await;
        assert!(matches!(end, Err(CallError::TimedOut)), "{end:?}");
        assert_eq!(bytes, file[..4]);
    }
}

#[tokio::test]
async fn a_caller_who_is_slow_himself_does_not_make_the_platform_slow() {
    let file = [7; 40];
    let strict = Timeouts {
        idle: STRICT.slow.window,
        slow: SlowPeer {
            min_bytes: 30,
            ..STRICT.slow
        },
        ..STRICT
    };
    let answer = Answer::bytes(200, file).trickled(10, Duration::from_millis(1));
    let waiting = Waiting::answered(&file, strict, answer).await;
    let mut content = waiting.content(0).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = content.next().await.unwrap() {
        bytes.extend_from_slice(&piece);
        // The disk is busy.
        tokio::time::sleep(2 * strict.slow.window).await;
    }
    assert_eq!(bytes, file);
}

#[tokio::test]
async fn a_wait_that_is_given_up_loses_no_byte() {
    let answer = Answer::bytes(200, "0123456789").trickled(1, Duration::from_millis(20));
    let waiting = Waiting::answered(b"0123456789", PATIENT, answer).await;
    let mut content = waiting.content(0).await.unwrap();
    let mut bytes = Vec::new();
    loop {
        let next = tokio::time::timeout(Duration::from_millis(3), content.next()).await;
        match next.map(Result::unwrap) {
            Ok(Some(piece)) => bytes.extend_from_slice(&piece),
            Ok(None) => break,
            Err(_) => {}
        }
    }
    assert_eq!(bytes, b"0123456789");
}
