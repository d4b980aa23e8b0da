//! Messages for workspaces.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::error::PayloadError;
use actix_web::http::Method;
use bytes::Bytes;
use futures_util::stream;
use pending_uploads_core::{
    Activity, ActivityId, Delivery, Error, NewActivity, Result, Seq, WorkspaceId,
};
use serde_json::{Value, json};

use crate::harness::{Agent, Ask, Fixture, TestApp, broken, now, path, unavailable, workspace};

const MIB: usize = 1024 * 1024;

fn message() -> Value {
    json!({
        "jsonrpc": "2.0",
        "id": 1,
        "method": "message/send",
        "params": {"message": {"role": "user", "parts": [{"type": "text", "text": "hi"}]}},
    })
}

fn appended(workspace: WorkspaceId, content: NewActivity) -> Activity {
    Activity {
        id: ActivityId::generate(),
        workspace_id: workspace,
        seq: Seq(1),
        created_at: now(),
        content,
    }
}

fn app_that_appends(answer: impl FnOnce() -> Result<()> + Send + 'static) -> TestApp {
    let mut fixture = Fixture::new();
    fixture
        .activity
        .expect_append()
        .return_once(move |id, row| answer().map(|()| appended(id, row)));
    fixture.app()
}

#[actix_web::test]
async fn a_message_for_a_workspace_that_polls_becomes_a_row_of_its_feed() {
    let mut fixture = Fixture::new();
    let rows = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&rows);
    fixture
        .activity
        .expect_append()
        .times(1)
        .returning(move |id, row| {
            seen.lock().unwrap().push((id, row.clone()));
            Ok(appended(id, row))
        });
    let answer = fixture
        .app()
        .post_json(&Agent, &path("a2a"), &message())
        .await;
    insta::assert_snapshot!(answer.whole(), @r#"
    200
    cache-control: no-store
    content-type: application/json

    {"status":"queued","delivery_mode":"poll","method":"message/send"}
    "#);

    let mut stored = message();
    stored["params"]["message"]["parts"] = json!([{"kind": "text", "text": "hi"}]);
    let row = NewActivity::message(workspace(), "message/send", stored);
    assert_eq!(*rows.lock().unwrap(), [(workspace(), row)]);
}

#[actix_web::test]
async fn what_is_no_message_send_request_is_refused() {
    let app = Fixture::new().app();
    let with = |field: &str, value: Value| {
        let mut message = message();
        message[field] = value;
        message
    };
    let mut without_params = message();
    without_params.as_object_mut().unwrap().remove("params");
    for body in [
        json!("message/send"),
        json!([message()]),
        json!({}),
        with("jsonrpc", json!("1.0")),
        with("jsonrpc", json!(2.0)),
        with("method", json!("message/stream")),
        with("method", Value::Null),
        with("params", json!([])),
        with("params", Value::Null),
        without_params,
        with("id", json!({})),
        with("id", json!(true)),
    ] {
        let answer = app.post_json(&Agent, &path("a2a"), &body).await;
        assert_eq!(
            answer.refusal(),
            (400, "invalid_message".to_owned()),
            "{body}"
        );
    }
}

#[actix_web::test]
async fn an_id_may_be_a_text_a_number_or_left_out() {
    for id in [json!("a"), json!(7), json!(1.5), Value::Null] {
        let mut body = message();
        body["id"] = id;
        let app = app_that_appends(|| Ok(()));
        assert_eq!(app.post_json(&Agent, &path("a2a"), &body).await.status, 200);
    }
}

#[actix_web::test]
async fn a_body_that_is_no_json_or_is_cut_off_is_refused() {
    let app = Fixture::new().app();
    for body in ["", "{", "\u{0}"] {
        let answer = app.post(&Agent, &path("a2a"), body).await;
        assert_eq!(answer.refusal(), (400, "invalid_json".to_owned()));
    }
    let cut = stream::iter([
        Ok(Bytes::from(message().to_string())),
        Err(PayloadError::Incomplete(None)),
    ]);
    let ask = Ask::new(Method::POST, &path("a2a")).by(&Agent);
    let answer = app.send_streaming(ask, cut).await;
    assert_eq!(answer.refusal(), (400, "invalid_json".to_owned()));
}

/// A message whose JSON is exactly that long.
fn message_of(bytes: usize) -> String {
    let mut text = message().to_string();
    let missing = bytes - text.len();
    text.push_str(&" ".repeat(missing));
    text
}

#[actix_web::test]
async fn a_message_of_exactly_the_cap_is_taken_and_one_byte_more_is_not() {
    let app = app_that_appends(|| Ok(()));
    assert_eq!(
        app.post(&Agent, &path("a2a"), message_of(MIB)).await.status,
        200
    );

    let answer = app.post(&Agent, &path("a2a"), message_of(MIB + 1)).await;
    insta::assert_snapshot!(answer.whole(), @r#"
    413
    cache-control: no-store
    content-type: application/json

    {"error":"the request body is over the limit of 1048576 bytes","code":"request_too_large","max":1048576}
    "#);
}

#[actix_web::test]
async fn a_declared_length_over_the_cap_is_refused_before_the_body_is_read() {
    let app = Fixture::new().app();
    let ask = Ask::new(Method::POST, &path("a2a")).by(&Agent);
    let ask = ask.header("content-length", &(MIB + 1).to_string());
    let answer = app.send_streaming(ask, stream::pending()).await;
    assert_eq!(answer.refusal(), (413, "request_too_large".to_owned()));
}

#[actix_web::test]
async fn a_sender_that_falls_silent_is_not_waited_for() {
    let mut fixture = Fixture::new();
    fixture.settings.idle_timeout = Duration::from_millis(1);
    let ask = Ask::new(Method::POST, &path("a2a")).by(&Agent);
    let answer = fixture.app().send_streaming(ask, stream::pending()).await;
    assert_eq!(answer.refusal(), (408, "idle_timeout".to_owned()));
}

#[actix_web::test]
async fn a_workspace_that_neither_polls_nor_has_a_url_cannot_be_sent_anything() {
    let app = Fixture::where_things_reach(&Delivery::Unreachable).app();
    let answer = app.post_json(&Agent, &path("a2a"), &message()).await;
    insta::assert_snapshot!(answer.whole(), @r#"
    422
    cache-control: no-store
    content-type: application/json

    {"error":"workspace has no callback URL that this could be delivered to","code":"no_callback_url"}
    "#);
}

#[actix_web::test]
async fn a_feed_that_cannot_be_written_is_an_error() {
    for (error, refusal) in [
        (unavailable(), (503, "platform_unavailable".to_owned())),
        (broken(), (500, "internal_error".to_owned())),
        (
            Error::UnknownWorkspace,
            (404, "workspace_not_found".to_owned()),
        ),
    ] {
        let app = app_that_appends(|| Err(error));
        let answer = app.post_json(&Agent, &path("a2a"), &message()).await;
        assert_eq!(answer.refusal(), refusal);
    }
}
