//! The small calls: what is asked, what each answer means, and how long and how much is waited for.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use inbox_client::{CallError, Platform, Registration, Timeouts};
use pending_uploads_core::{FileId, Sha256, WorkspaceId};
use serde_json::{Value, json};

use crate::support::scripted::{Answer, Scripted};
use crate::support::{HASTY, PATIENT, TOKEN, platform, said, token, waiting_file, workspace};

const LIMITS: &str = "/uploads/limits";

fn limits() -> Answer {
    Answer::json(
        200,
        &json!({"per_file_bytes": 10, "per_request_bytes": 5000, "max_attachments_per_message": 3}),
    )
}

async fn refused_with(answer: Answer) -> CallError {
    let scripted = Scripted::start().await;
    scripted.on("GET", LIMITS, [answer]);
    let platform = platform(&scripted, PATIENT);
    platform.limits().await.unwrap_err()
}

#[tokio::test]
async fn every_request_says_who_asks_and_wants_the_bytes_as_they_are() {
    let scripted = Scripted::start().await;
    scripted.on("GET", LIMITS, [limits()]);
    platform(&scripted, PATIENT).limits().await.unwrap();
    let request = scripted.request();
    let agent = concat!("pending-uploads-inbox/", env!("CARGO_PKG_VERSION"));
    assert_eq!(request.header("user-agent"), Some(agent));
    assert_eq!(request.header("accept-encoding"), Some("identity"));
    assert_eq!(request.header("authorization"), None);
}

#[tokio::test]
async fn the_path_of_a_platform_stands_before_each_route() {
    let scripted = Scripted::start().await;
    scripted.on("GET", "/a/b/uploads/limits", [limits()]);
    let url = format!("{}/a/b/", scripted.url()).parse().unwrap();
    Platform::new(url, PATIENT).unwrap().limits().await.unwrap();
}

#[tokio::test]
async fn limits_are_read_and_must_make_sense() {
    let scripted = Scripted::start().await;
    let contradiction =
        json!({"per_file_bytes": 20, "per_request_bytes": 20, "max_attachments_per_message": 3});
    let nothing =
        json!({"per_file_bytes": 0, "per_request_bytes": 5000, "max_attachments_per_message": 3});
    let answers = [
        limits(),
        Answer::json(200, &contradiction),
        Answer::json(200, &nothing),
        Answer::bytes(200, "<html>"),
    ];
    scripted.on("GET", LIMITS, answers);
    let platform = platform(&scripted, PATIENT);
    let read = platform.limits().await.unwrap();
    assert_eq!(
        (read.per_file_bytes(), read.per_request_bytes()),
        (10, 5000)
    );
    assert_eq!(read.max_files(), 3);
    for _ in 0..3 {
        let error = platform.limits().await.unwrap_err();
        assert!(matches!(error, CallError::Malformed { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_first_registration_gives_the_token_and_a_later_one_does_not() {
    let scripted = Scripted::start().await;
    let mut registered =
        json!({"status": "registered", "delivery_mode": "poll", "auth_token": "abc"});
    let first = Answer::json(200, &registered);
    registered["auth_token"] = Value::Null;
    let answers = [first, Answer::json(200, &registered)];
    scripted.on("POST", "/registry/register", answers);
    let platform = platform(&scripted, PATIENT);
    let mut registration = Registration {
        id: WorkspaceId::generate(),
        name: Some("a workspace".to_owned()),
        token: None,
    };
    let given = platform.register(&registration).await.unwrap();
    assert_eq!(given.unwrap().expose(), "abc");
    registration.name = None;
    registration.token = Some(token(TOKEN));
    assert!(platform.register(&registration).await.unwrap().is_none());

    let id = registration.id.to_string();
    let [first, second] = scripted.requests().try_into().unwrap();
    assert_eq!(
        first.json(),
        json!({"id": id, "delivery_mode": "poll", "agent_card": {"name": "a workspace"}})
    );
    assert_eq!(first.header("content-type"), Some("application/json"));
    assert_eq!(first.header("authorization"), None);
    assert_eq!(second.json(), json!({"id": id, "delivery_mode": "poll"}));
    let bearer = format!("Bearer {TOKEN}");
    assert_eq!(second.header("authorization"), Some(bearer.as_str()));
}

#[tokio::test]
async fn a_registration_that_is_none_is_malformed() {
    let scripted = Scripted::start().await;
    let answers = [
        json!({"delivery_mode": "push", "auth_token": "abc"}),
        json!({"delivery_mode": "poll", "auth_token": "no token at all"}),
        json!([]),
    ];
    let answers = answers.map(|body| Answer::json(200, &body));
    scripted.on("POST", "/registry/register", answers);
    let registration = Registration {
        id: WorkspaceId::generate(),
        name: None,
        token: None,
    };
    for _ in 0..3 {
        let answer = platform(&scripted, PATIENT).register(&registration).await;
        let error = answer.unwrap_err();
        assert!(matches!(error, CallError::Malformed { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn an_ack_carries_the_digest_and_both_of_its_answers_are_good() {
    let scripted = Scripted::start().await;
    let (workspace, path) = workspace(&scripted, PATIENT);
    let file = FileId::generate();
    let path = format!("{path}/pending-uploads/{file}/ack");
    let answers = [
        Answer::json(200, &json!({"acked": true})),
        Answer::json(200, &json!({"acked": true, "raced": true})),
        Answer::json(200, &json!({"acked": false})),
        Answer::bytes(200, "<html>log in first</html>"),
        Answer::error(409, "digest_mismatch"),
        Answer::error(404, "not_found"),
    ];
    scripted.on("POST", &path, answers);
    let digest = Sha256::of(b"abc");
    workspace.ack(file, digest).await.unwrap();
    workspace.ack(file, digest).await.unwrap();
    assert_eq!(
        scripted.requests()[0].json(),
        json!({"sha256": digest.to_string()})
    );
    for _ in 0..2 {
        let error = workspace.ack(file, digest).await.unwrap_err();
        assert!(matches!(error, CallError::Malformed { .. }), "{error:?}");
    }
    let error = workspace.ack(file, digest).await.unwrap_err();
    assert!(matches!(error, CallError::DigestMismatch), "{error:?}");
    let error = workspace.ack(file, digest).await.unwrap_err();
    assert!(matches!(error, CallError::NotFound), "{error:?}");
}

#[tokio::test]
async fn a_file_that_waits_and_cannot_be_read_does_not_lose_the_others() {
    let scripted = Scripted::start().await;
    let (workspace, path) = workspace(&scripted, PATIENT);
    let (first, last) = (
        waiting_file(workspace.id(), b"abc"),
        waiting_file(workspace.id(), b"defg"),
    );
    let elsewhere = waiting_file(WorkspaceId::generate(), b"abc");
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    let named = FileId::generate();
    let answer = format!(
        r#"[{}, {{"file_id": 7}}, null, "\ud800", {}, {deep}, 1e999, {{"file_id": "{named}",
        "x": 1e999, "y": {deep}, "z": "\ud800"}}, {}]"#,
        said(&first),
        said(&elsewhere),
        said(&last)
    );
    let answers = [Answer::bytes(200, answer), Answer::bytes(200, "{}")];
    scripted.on("GET", &format!("{path}/pending-uploads"), answers);
    let read = workspace.waiting().await.unwrap();
    assert_eq!(read.files, [first, last]);
    assert_eq!(read.unreadable, [elsewhere.file_id, named]);
    let error = workspace.waiting().await.unwrap_err();
    assert!(matches!(error, CallError::Malformed { .. }), "{error:?}");
}

#[tokio::test]
async fn names_of_the_platform_are_made_safe_again() {
    let scripted = Scripted::start().await;
    let (workspace, path) = workspace(&scripted, PATIENT);
    let mut said = said(&waiting_file(workspace.id(), b"abc"));
    said["name"] = json!("../../etc/pass wd");
    said["originalName"] = json!("\u{202E}fdp\u{7}.exe");
    said["mimeType"] = json!("text/html; charset=x");
    let answer = Answer::json(200, &json!([said]));
    scripted.on("GET", &format!("{path}/pending-uploads"), [answer]);
    let file = workspace.waiting().await.unwrap().files.remove(0);
    assert_eq!(file.filename.as_str(), "pass_wd");
    assert_eq!(file.filename.original(), "fdp.exe");
    assert_eq!(file.mimetype.as_str(), "text/html");
}

#[tokio::test]
async fn each_status_has_its_meaning() {
    fn is_unavailable(error: &CallError) -> bool {
        matches!(error, CallError::Unavailable { retry_after: None })
    }
    type Judge = fn(&CallError) -> bool;
    let rows: [(u16, &str, Judge); 15] = [
        (401, "unauthorized", |e| {
            matches!(e, CallError::Unauthorized)
        }),
        (404, "workspace_not_found", |e| {
            matches!(e, CallError::WorkspaceNotFound)
        }),
        (404, "not_found", |e| matches!(e, CallError::NotFound)),
        (404, "route_not_found", |e| {
            matches!(e, CallError::Refused { status: 404, .. })
        }),
        (409, "another", |e| {
            matches!(e, CallError::Refused { status: 409, .. })
        }),
        (410, "cursor_gone", |e| matches!(e, CallError::CursorGone)),
        (416, "range_not_satisfiable", |e| {
            matches!(e, CallError::RangeNotSatisfiable)
        }),
        (408, "idle_timeout", is_unavailable),
        (429, "slow_down", is_unavailable),
        (500, "internal_error", is_unavailable),
        (502, "bad_gateway", is_unavailable),
        (503, "platform_unavailable", is_unavailable),
        (504, "gateway_timeout", is_unavailable),
        (507, "quota_exceeded", |e| {
            matches!(e, CallError::Refused { status: 507, .. })
        }),
        (599, "unheard_of", is_unavailable),
    ];
    for (status, code, judge) in rows {
        let error = refused_with(Answer::error(status, code)).await;
        assert!(judge(&error), "{status} {code}: {error:?}");
    }
}

#[tokio::test]
async fn a_refusal_keeps_its_code_and_its_sentence_and_nothing_that_could_harm() {
    let said = json!({"error": "too\u{1b}[2J \u{0}long\n", "code": "file_too_large"});
    let error = refused_with(Answer::json(413, &said)).await;
    let CallError::Refused {
        status,
        code,
        message,
    } = error
    else {
        panic!("{error:?}");
    };
    assert_eq!(status, 413);
    assert_eq!(code.as_deref(), Some("file_too_large"));
    assert_eq!(message, "too[2J long");
}

#[tokio::test]
async fn an_error_that_says_nothing_of_use_is_still_a_refusal() {
    let strange = json!({"error": 7, "code": "Not A Code"});
    for answer in [
        Answer::json(400, &strange),
        Answer::json(400, &json!({"code": "NOT_A_CODE"})),
        Answer::bytes(400, "<html>"),
        Answer::bytes(400, ""),
        Answer::bytes(400, vec![b' '; 100_000]),
        Answer::bytes(400, vec![b' '; 1000]).endless(),
    ] {
        let error = refused_with(answer).await;
        let CallError::Refused { status, code, .. } = &error else {
            panic!("{error:?}");
        };
        assert_eq!((*status, code.as_deref()), (400, None));
    }
}

#[tokio::test]
async fn a_404_that_breaks_off_is_not_taken_for_a_file_that_is_gone() {
    let cut = Answer::error(404, "not_found").closed_after(20);
    let error = refused_with(cut).await;
    assert!(matches!(error, CallError::BrokenOff), "{error:?}");
}

#[tokio::test]
async fn what_the_platform_asks_for_is_counted_by_its_own_clock() {
    for (value, secs) in [("7", Some(7)), ("Wed, 21 Oct 2015 07:28:30 GMT", Some(30))] {
        let answer = Answer::error(503, "platform_unavailable")
            .header("date", "Wed, 21 Oct 2015 07:28:00 GMT")
            .header("retry-after", value);
        let CallError::Unavailable { retry_after } = refused_with(answer).await else {
            panic!("{value}");
        };
        assert_eq!(retry_after, secs.map(Duration::from_secs));
    }
}

#[tokio::test]
async fn a_redirect_is_refused_and_the_token_does_not_go_along() {
    let (scripted, elsewhere) = (Scripted::start().await, Scripted::start().await);
    let (workspace, path) = workspace(&scripted, PATIENT);
    for status in [301, 302, 303, 307, 308] {
        let answer = Answer::bytes(status, "").header("location", &elsewhere.url());
        scripted.on("GET", &format!("{path}/pending-uploads"), [answer]);
        let error = workspace.waiting().await.unwrap_err();
        let refused = matches!(error, CallError::Refused { status: given, .. } if given == status);
        assert!(refused, "{error:?}");
    }
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn the_token_goes_with_a_call_and_is_never_printed() {
    let scripted = Scripted::start().await;
    let (workspace, path) = workspace(&scripted, PATIENT);
    let answer = Answer::json(200, &json!([]));
    scripted.on("GET", &format!("{path}/pending-uploads"), [answer]);
    workspace.waiting().await.unwrap();
    let bearer = format!("Bearer {TOKEN}");
    let request = scripted.request();
    assert_eq!(request.header("authorization"), Some(bearer.as_str()));
    let url = scripted.url();
    drop(scripted);
    let gone = workspace.waiting().await;
    let printed = format!("{workspace:?} {gone:?}");
    assert!(
        printed.contains(&url) && !printed.contains(TOKEN),
        "{printed}"
    );
}

#[tokio::test]
async fn a_platform_that_is_not_there_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let platform = Platform::new(url.parse().unwrap(), PATIENT).unwrap();
    let error = platform.limits().await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn a_platform_that_speaks_no_tls_is_not_asked_over_https() {
    let scripted = Scripted::start().await;
    let url = scripted.url().replace("http:", "https:").parse().unwrap();
    let error = Platform::new(url, PATIENT).unwrap().limits().await;
    let error = error.unwrap_err();
    assert!(matches!(error, CallError::Unreachable(_)), "{error:?}");
    assert!(scripted.requests().is_empty());
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_answer() {
    for answer in [limits().closed_after(10), limits().reset_after(10)] {
        let error = refused_with(answer).await;
        assert!(matches!(error, CallError::BrokenOff), "{error:?}");
    }
}

#[tokio::test]
async fn a_platform_that_never_answers_is_not_waited_for() {
    let scripted = Scripted::start().await;
    scripted.ignore("GET", LIMITS);
    let error = platform(&scripted, HASTY).limits().await.unwrap_err();
    assert!(matches!(error, CallError::TimedOut), "{error:?}");
}

#[tokio::test]
async fn a_small_answer_that_trickles_is_not_waited_for() {
    let scripted = Scripted::start().await;
    let often = HASTY.answer / 10;
    for answer in [
        limits().trickled(1, often),
        Answer::error(400, "invalid_id").trickled(1, often),
        limits().stalled_after(5),
    ] {
        scripted.on("GET", LIMITS, [answer]);
        let error = platform(&scripted, HASTY).limits().await.unwrap_err();
        assert!(matches!(error, CallError::TimedOut), "{error:?}");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_not_kept() {
    let error = refused_with(Answer::bytes(200, vec![b' '; 4096]).endless()).await;
    assert!(matches!(error, CallError::Malformed { .. }), "{error:?}");

    let scripted = Scripted::start().await;
    let patient = Timeouts {
        answer: Duration::from_mins(2),
        ..PATIENT
    };
    let (workspace, path) = workspace(&scripted, patient);
    let endless = Answer::bytes(200, vec![b' '; 1024 * 1024]).endless();
    scripted.on("GET", &format!("{path}/pending-uploads"), [endless]);
    let error = workspace.waiting().await.unwrap_err();
    assert!(matches!(error, CallError::Malformed { .. }), "{error:?}");
}

#[tokio::test]
async fn a_list_may_be_larger_than_a_small_answer() {
    let scripted = Scripted::start().await;
    let (workspace, path) = workspace(&scripted, PATIENT);
    let files: Vec<_> = (0..1000)
        .map(|_| waiting_file(workspace.id(), b"abc"))
        .collect();
    let list: Vec<_> = files.iter().map(said).collect();
    let answer = Answer::json(200, &json!(list)).chunked();
    scripted.on("GET", &format!("{path}/pending-uploads"), [answer]);
    assert_eq!(workspace.waiting().await.unwrap().files, files);
}

const CHILD: &str = "INBOX_TEST_ASKS_THROUGH_A_PROXY";

/// The environment is a process's own, so the test runs itself again in one whose proxy is the
/// scripted platform.
#[tokio::test]
async fn the_proxy_of_the_environment_is_asked() {
    const BEHIND: &str = "http://platform.invalid";
    if std::env::var_os(CHILD).is_some() {
        let platform = Platform::new(BEHIND.parse().unwrap(), PATIENT).unwrap();
        platform.limits().await.unwrap();
        return;
    }
    let scripted = Scripted::start().await;
    scripted.on("GET", &format!("{BEHIND}{LIMITS}"), [limits()]);
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", "platform::the_proxy_of_the_environment_is_asked"])
        .env(CHILD, "1")
        .env("http_proxy", scripted.url())
        .env_remove("no_proxy")
        .env_remove("NO_PROXY");
    let run = tokio::task::spawn_blocking(move || child.output());
    let output = run.await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(scripted.requests().len(), 1);
}
