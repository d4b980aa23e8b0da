//! A file's bytes: headers, ranges and conditions, and who gets none.

use std::time::Duration;

use pending_uploads_core::{ByteRange, Error, Mimetype, PendingUpload, Sha256};

use crate::harness::{
    Agent, Answer, Ask, CONTENT, End, Fixture, OTHER, broken, file_path, now, pieces, unavailable,
    upload, workspace,
};

/// A store that holds [`CONTENT`] as `upload`.
fn holding(upload: PendingUpload) -> Fixture {
    Fixture::new().storing(|storage| {
        storage
            .expect_get()
            .returning(move |_, _| Ok(upload.clone()));
        storage.expect_read().returning(|id, file, range| {
            assert_eq!((id, file), (workspace(), self::upload().file_id));
            let bytes = |at: u64| usize::try_from(at).unwrap();
            let (start, end) = (bytes(range.start()), bytes(range.end()));
            let middle = usize::midpoint(start, end);
            let parts = [&CONTENT[start..middle], &CONTENT[middle..end]];
            let parts = parts.into_iter().filter(|part| !part.is_empty());
            Ok(pieces(parts.map(Ok).collect()))
        });
        storage.expect_mark_fetched().returning(|_, _| Ok(()));
    })
}

/// A store that holds [`CONTENT`] and must not load a byte of it.
fn not_read(upload: PendingUpload) -> Fixture {
    Fixture::new().storing(|storage| {
        storage
            .expect_get()
            .returning(move |_, _| Ok(upload.clone()));
        storage.expect_read().never();
        storage.expect_mark_fetched().never();
    })
}

async fn fetch(fixture: Fixture, headers: &[(&str, &str)]) -> Answer {
    let mut ask = Ask::get(&file_path("content")).by(&Agent);
    for (name, value) in headers {
        ask = ask.header(name, value);
    }
    fixture.app().send(ask).await
}

fn etag() -> String {
    format!("\"{}\"", Sha256::of(CONTENT))
}

#[actix_web::test]
async fn a_whole_file_comes_with_all_that_is_known_of_it() {
    let answer = fetch(holding(upload()), &[]).await;
    assert_eq!(answer.end, End::Whole);
    insta::assert_snapshot!(answer.whole(), @r#"
    200
    accept-ranges: bytes
    cache-control: private, no-store
    content-disposition: attachment; filename="mein_Bericht.pdf"; filename*=UTF-8''mein%20Bericht.pdf
    content-security-policy: sandbox; default-src 'none'
    content-type: application/pdf
    etag: "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882"
    repr-digest: sha-256=:hNiYd/DUBB77a/kaFvAkjy/Vc+avBcGflr7bn4gveII=:
    x-content-type-options: nosniff

    0123456789
    "#);
}

#[actix_web::test]
async fn a_part_of_a_file_says_which_part_it_is() {
    let answer = fetch(holding(upload()), &[("range", "bytes=2-4")]).await;
    insta::assert_snapshot!(answer.whole(), @r#"
    206
    accept-ranges: bytes
    cache-control: private, no-store
    content-disposition: attachment; filename="mein_Bericht.pdf"; filename*=UTF-8''mein%20Bericht.pdf
    content-range: bytes 2-4/10
    content-security-policy: sandbox; default-src 'none'
    content-type: application/pdf
    etag: "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882"
    repr-digest: sha-256=:hNiYd/DUBB77a/kaFvAkjy/Vc+avBcGflr7bn4gveII=:
    x-content-type-options: nosniff

    234
    "#);
}

#[actix_web::test]
async fn a_head_answers_the_headers_of_a_get_and_loads_nothing() {
    let got = fetch(holding(upload()), &[]).await;
    let app = not_read(upload()).app();
    let head = app.head(&Agent, &file_path("content")).await;
    assert_eq!((head.status, &head.headers), (200, &got.headers));
    assert!(head.body.is_empty());
}

#[actix_web::test]
async fn a_head_ignores_a_range() {
    let app = not_read(upload()).app();
    let ask = Ask::new(actix_web::http::Method::HEAD, &file_path("content")).by(&Agent);
    assert_eq!(app.send(ask.header("range", "bytes=99-")).await.status, 200);
}

#[actix_web::test]
async fn a_file_without_a_type_is_a_stream_of_octets() {
    let untyped = PendingUpload {
        mimetype: Mimetype::absent(),
        ..upload()
    };
    let answer = fetch(holding(untyped), &[]).await;
    assert_eq!(answer.header("content-type"), "application/octet-stream");
}

#[actix_web::test]
async fn ranges_are_served_as_rfc_9110_has_them() {
    for (range, content_range, body) in [
        ("bytes=0-9", "bytes 0-9/10", "0123456789"),
        ("bytes=0-0", "bytes 0-0/10", "0"),
        ("bytes=4-", "bytes 4-9/10", "456789"),
        ("bytes=4-400", "bytes 4-9/10", "456789"),
        ("bytes=-3", "bytes 7-9/10", "789"),
        ("bytes=-300", "bytes 0-9/10", "0123456789"),
    ] {
        let answer = fetch(holding(upload()), &[("range", range)]).await;
        assert_eq!(answer.status, 206, "{range}");
        assert_eq!(answer.header("content-range"), content_range, "{range}");
        assert_eq!(answer.body, body.as_bytes(), "{range}");
        assert_eq!(answer.header("etag"), etag());
    }
}

#[actix_web::test]
async fn a_range_that_is_malformed_or_several_or_of_other_units_gets_the_whole_file() {
    for range in ["bytes=4-2", "bytes=x", "4-5", "lines=1-2", "bytes=0-1,4-5"] {
        let answer = fetch(holding(upload()), &[("range", range)]).await;
        assert_eq!((answer.status, &answer.body[..]), (200, CONTENT), "{range}");
        assert_eq!(answer.header("content-range"), "");
    }
}

#[actix_web::test]
async fn a_range_of_no_byte_of_the_file_is_not_satisfiable() {
    for range in ["bytes=10-", "bytes=10-11", "bytes=-0"] {
        let answer = fetch(not_read(upload()), &[("range", range)]).await;
        assert_eq!(answer.refusal(), (416, "range_not_satisfiable".to_owned()));
        assert_eq!(answer.header("content-range"), "bytes */10");
    }
    let answer = fetch(not_read(upload()), &[("range", "bytes=10-")]).await;
    insta::assert_snapshot!(answer.whole(), @r#"
    416
    cache-control: no-store
    content-range: bytes */10
    content-type: application/json

    {"error":"none of the file's 10 bytes is in the range","code":"range_not_satisfiable"}
    "#);
}

#[actix_web::test]
async fn a_caller_who_has_the_file_gets_none_of_it() {
    for tag in [
        etag(),
        format!("W/{}", etag()),
        "*".to_owned(),
        format!("\"x\", {}", etag()),
    ] {
        let answer = fetch(not_read(upload()), &[("if-none-match", &tag)]).await;
        assert_eq!((answer.status, &answer.body[..]), (304, &b""[..]), "{tag}");
        assert_eq!(answer.header("etag"), etag());
        assert_eq!(answer.header("cache-control"), "private, no-store");
    }
    let answer = fetch(holding(upload()), &[("if-none-match", "\"x\"")]).await;
    assert_eq!((answer.status, &answer.body[..]), (200, CONTENT));
}

#[actix_web::test]
async fn a_range_is_served_only_if_if_range_names_this_very_file() {
    let ranged = ("range", "bytes=2-3");
    let (strong, weak) = (etag(), format!("W/{}", etag()));
    for (condition, status) in [
        (strong.as_str(), 206),
        (&weak, 200),
        ("\"x\"", 200),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 200),
    ] {
        let answer = fetch(holding(upload()), &[ranged, ("if-range", condition)]).await;
        assert_eq!(answer.status, status, "{condition}");
    }
}

#[actix_web::test]
async fn a_caller_who_expects_another_file_gets_none() {
    let answer = fetch(not_read(upload()), &[("if-match", "\"x\"")]).await;
    assert_eq!(answer.refusal(), (412, "precondition_failed".to_owned()));
    let answer = fetch(holding(upload()), &[("if-match", &etag())]).await;
    assert_eq!(answer.status, 200);
}

#[actix_web::test]
async fn absent_another_workspaces_acked_and_expired_are_the_same_404_and_load_nothing() {
    let absent = Fixture::new().storing(|storage| {
        storage.expect_get().returning(|_, _| Err(Error::NotFound));
        storage.expect_read().never();
    });
    let acked = PendingUpload {
        acked_at: Some(now()),
        ..upload()
    };
    let anothers = PendingUpload {
        workspace_id: OTHER.parse().unwrap(),
        ..upload()
    };
    let expired = not_read(upload());
    expired.clock.advance(Duration::from_hours(23));
    let acked_meanwhile = Fixture::new().storing(|storage| {
        storage.expect_get().returning(|_, _| Ok(upload()));
        storage
            .expect_read()
            .returning(|_, _, _| Err(Error::NotFound));
    });
    let mut nowhere = Fixture::new();
    nowhere.storage = None;

    let absent = fetch(absent, &[]).await;
    assert_eq!(fetch(not_read(acked), &[]).await, absent);
    assert_eq!(fetch(not_read(anothers), &[]).await, absent);
    assert_eq!(fetch(expired, &[("range", "bytes=99-")]).await, absent);
    assert_eq!(fetch(acked_meanwhile, &[]).await, absent);
    assert_eq!(fetch(nowhere, &[]).await, absent);
    insta::assert_snapshot!(absent.whole(), @r#"
    404
    cache-control: no-store
    content-type: application/json

    {"error":"there is no such file for this workspace, or it is not waiting any more","code":"not_found"}
    "#);
}

#[actix_web::test]
async fn a_file_is_served_until_the_moment_it_expires() {
    let last_moment = holding(upload());
    last_moment
        .clock
        .advance(Duration::from_hours(23) - Duration::from_micros(1));
    assert_eq!(fetch(last_moment, &[]).await.status, 200);
}

#[actix_web::test]
async fn a_store_that_fails_before_the_first_byte_is_an_error() {
    type Failure = fn() -> Error;
    for (error, status) in [
        (unavailable as Failure, 503),
        (broken, 500),
        (|| Error::Integrity { what: "secret" }, 500),
    ] {
        let at_get = Fixture::new().storing(|storage| {
            storage.expect_get().returning(move |_, _| Err(error()));
        });
        let at_read = Fixture::new().storing(|storage| {
            storage.expect_get().returning(|_, _| Ok(upload()));
            storage.expect_read().returning(move |_, _, _| Err(error()));
        });
        let at_get = fetch(at_get, &[]).await;
        assert_eq!(at_get.status, status);
        assert_eq!(fetch(at_read, &[]).await, at_get);
        assert!(!String::from_utf8_lossy(&at_get.body).contains("secret"));
    }
}

#[actix_web::test]
async fn a_store_that_finds_the_file_shorter_than_its_record_is_believed() {
    let shorter = Fixture::new().storing(|storage| {
        storage.expect_get().returning(|_, _| Ok(upload()));
        storage
            .expect_read()
            .withf(|_, _, range| Some(*range) == ByteRange::new(0, 10))
            .returning(|_, _, _| Err(Error::RangeNotSatisfiable { size_bytes: 9 }));
    });
    let answer = fetch(shorter, &[]).await;
    assert_eq!(answer.refusal(), (416, "range_not_satisfiable".to_owned()));
}
