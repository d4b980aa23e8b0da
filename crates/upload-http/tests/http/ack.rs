//! Acks.

use pending_uploads_core::{Acked, Error, PendingUpload, Result, Sha256};
use serde_json::json;

use crate::harness::{
    Agent, Answer, CONTENT, Fixture, OTHER, broken, file_path, now, unavailable, upload, workspace,
};

/// A store that finds the file and answers an ack with `acked`.
fn acking(acked: Result<Acked>) -> Fixture {
    Fixture::new().storing(|storage| {
        storage
            .expect_get()
            .withf(|id, file| *id == workspace() && *file == upload().file_id)
            .times(1)
            .returning(|_, _| Ok(upload()));
        storage
            .expect_ack()
            .withf(|id, file| *id == workspace() && *file == upload().file_id)
            .times(1)
            .return_once(|_, _| acked);
    })
}

/// A store that finds the file and must not be asked to ack it.
fn not_acking() -> Fixture {
    Fixture::new().storing(|storage| {
        storage.expect_get().returning(|_, _| Ok(upload()));
        storage.expect_ack().never();
    })
}

async fn ack(fixture: Fixture, body: &str) -> Answer {
    fixture
        .app()
        .post(&Agent, &file_path("ack"), body.to_owned())
        .await
}

#[actix_web::test]
async fn a_file_is_acked() {
    let answer = ack(acking(Ok(Acked::First { at: now() })), "").await;
    insta::assert_snapshot!(answer.whole(), @r#"
    200
    cache-control: no-store
    content-type: application/json

    {"acked":true}
    "#);
}

#[actix_web::test]
async fn a_repeated_ack_gets_the_same_answer() {
    let first = ack(acking(Ok(Acked::First { at: now() })), "").await;
    let again = ack(acking(Ok(Acked::Again { at: now() })), "").await;
    assert_eq!(first, again);
}

#[actix_web::test]
async fn an_ack_that_finds_the_file_swept_meanwhile_is_none_the_worse() {
    let answer = ack(acking(Err(Error::NotFound)), "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json(), json!({"acked": true, "raced": true}));
}

#[actix_web::test]
async fn a_digest_that_fits_is_an_ack_and_so_is_a_body_without_one() {
    let hex = Sha256::of(CONTENT).to_string();
    for body in [
        json!({"sha256": hex}).to_string(),
        json!({"sha256": hex.to_uppercase(), "more": 1}).to_string(),
        json!({"sha256": null}).to_string(),
        "{}".to_owned(),
        " \n".to_owned(),
    ] {
        let answer = ack(acking(Ok(Acked::First { at: now() })), &body).await;
        assert_eq!(answer.status, 200, "{body}");
    }
}

#[actix_web::test]
async fn a_digest_that_differs_acks_nothing() {
    let other = Sha256::of(b"something else").to_string();
    let answer = ack(not_acking(), &json!({"sha256": other}).to_string()).await;
    insta::assert_snapshot!(answer.whole(), @r#"
    409
    cache-control: no-store
    content-type: application/json

    {"error":"the sha256 is not the file's: nothing was acked, fetch the file again","code":"digest_mismatch"}
    "#);
}

#[actix_web::test]
async fn a_body_that_does_not_fit_acks_nothing() {
    for (body, code) in [
        ("{", "invalid_json"),
        ("sha256=00", "invalid_json"),
        ("null", "invalid_json"),
        (r#"["x"]"#, "invalid_json"),
        (r#""x""#, "invalid_json"),
        ("7", "invalid_json"),
        (r#"{"sha256": "00"}"#, "invalid_field"),
        (r#"{"sha256": 5}"#, "invalid_field"),
    ] {
        let answer = ack(not_acking(), body).await;
        assert_eq!(answer.refusal(), (400, code.to_owned()), "{body}");
    }
}

#[actix_web::test]
async fn an_acks_body_is_short() {
    let at_most = 4096;
    let taken = ack(acking(Ok(Acked::First { at: now() })), &" ".repeat(at_most)).await;
    assert_eq!(taken.status, 200);
    let answer = ack(not_acking(), &" ".repeat(at_most + 1)).await;
    assert_eq!(answer.refusal(), (413, "request_too_large".to_owned()));
    assert_eq!(answer.json()["max"], at_most);
}

#[actix_web::test]
async fn a_file_that_is_not_there_cannot_be_acked() {
    let absent = Fixture::new().storing(|storage| {
        storage.expect_get().returning(|_, _| Err(Error::NotFound));
    });
    let absent = ack(absent, "").await;
    assert_eq!(absent.refusal(), (404, "not_found".to_owned()));

    let anothers = Fixture::new().storing(|storage| {
        storage.expect_get().returning(|_, _| {
            Ok(PendingUpload {
                workspace_id: OTHER.parse().unwrap(),
                ..upload()
            })
        });
        storage.expect_ack().never();
    });
    assert_eq!(ack(anothers, "").await, absent);

    let mut nowhere = Fixture::new();
    nowhere.storage = None;
    assert_eq!(ack(nowhere, "").await, absent);
}

#[actix_web::test]
async fn a_store_that_is_down_or_fails_is_told_apart() {
    for (error, refusal) in [
        (
            unavailable as fn() -> Error,
            (503, "platform_unavailable".to_owned()),
        ),
        (broken, (500, "internal_error".to_owned())),
    ] {
        let at_ack = ack(acking(Err(error())), "").await;
        assert_eq!(at_ack.refusal(), refusal);
        let at_get = Fixture::new().storing(|storage| {
            storage.expect_get().returning(move |_, _| Err(error()));
        });
        assert_eq!(ack(at_get, "").await.refusal(), refusal);
    }
}
