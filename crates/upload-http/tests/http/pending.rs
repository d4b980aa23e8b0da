//! The list of what waits.

use pending_uploads_core::{Error, ListAfter, PendingUpload, Result};
use serde_json::{Value, json};

use crate::harness::{
    Agent, Answer, End, Fixture, broken, nth_upload, path, unavailable, upload, workspace,
};

/// A store that answers `pages` one after another, each asked for after the last record before.
fn paged(pages: Vec<Result<Vec<PendingUpload>>>) -> Fixture {
    Fixture::new().storing(move |storage| {
        let mut after = None;
        for page in pages {
            let wanted = after;
            after = page
                .as_ref()
                .ok()
                .and_then(|page| page.last())
                .map(ListAfter::from);
            storage
                .expect_list()
                .withf(move |id, after, limit| {
                    *id == workspace() && *after == wanted && *limit == 500
                })
                .times(1)
                .return_once(|_, _, _| page);
        }
    })
}

fn uploads(range: std::ops::Range<u32>) -> Vec<PendingUpload> {
    range.map(nth_upload).collect()
}

async fn listed(fixture: Fixture) -> Answer {
    fixture.app().get(&Agent, &path("pending-uploads")).await
}

#[actix_web::test]
async fn what_waits_is_listed_with_all_that_is_known_of_it() {
    let fetched = PendingUpload {
        fetched_at: Some("2026-05-04T11:30:00Z".parse().unwrap()),
        ..nth_upload(1)
    };
    let answer = listed(paged(vec![Ok(vec![upload(), fetched])])).await;
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "no-store");
    insta::assert_json_snapshot!(answer.json(), @r#"
    [
      {
        "file_id": "0190f5fe-7c00-7a00-8000-0123456789ab",
        "name": "mein_Bericht.pdf",
        "mimeType": "application/pdf",
        "size": 10,
        "uri": "platform-pending:11111111-1111-4111-8111-111111111111/0190f5fe-7c00-7a00-8000-0123456789ab",
        "originalName": "mein Bericht.pdf",
        "sha256": "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882",
        "created_at": "2026-05-04T11:00:00Z",
        "expires_at": "2026-05-05T11:00:00Z",
        "fetched_at": null
      },
      {
        "file_id": "0190f5fe-7c00-7a00-8000-000000000001",
        "name": "mein_Bericht.pdf",
        "mimeType": "application/pdf",
        "size": 10,
        "uri": "platform-pending:11111111-1111-4111-8111-111111111111/0190f5fe-7c00-7a00-8000-000000000001",
        "originalName": "mein Bericht.pdf",
        "sha256": "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882",
        "created_at": "2026-05-04T11:00:00Z",
        "expires_at": "2026-05-05T11:00:00Z",
        "fetched_at": "2026-05-04T11:30:00Z"
      }
    ]
    "#);
}

#[actix_web::test]
async fn nothing_that_waits_is_an_empty_array() {
    let answer = listed(paged(vec![Ok(Vec::new())])).await;
    assert_eq!((answer.status, answer.json()), (200, json!([])));
}

#[actix_web::test]
async fn a_platform_without_staging_has_nothing_that_waits() {
    let mut fixture = Fixture::new();
    fixture.storage = None;
    let answer = listed(fixture).await;
    assert_eq!((answer.status, answer.json()), (200, json!([])));
}

#[actix_web::test]
async fn pages_become_one_array_in_order() {
    for ends in [&[1][..], &[499], &[500, 500], &[500, 1000, 1001]] {
        let starts = std::iter::once(&0).chain(ends);
        let pages = starts
            .zip(ends)
            .map(|(start, end)| Ok(uploads(*start..*end)));
        let pages = pages.collect();
        let count = ends[ends.len() - 1];
        let answer = listed(paged(pages)).await;
        assert_eq!(answer.end, End::Whole);
        let rows = answer.json();
        let ids: Vec<_> = rows
            .as_array()
            .unwrap()
            .iter()
            .map(|row| &row["file_id"])
            .collect();
        let wanted: Vec<_> = uploads(0..count)
            .iter()
            .map(|upload| Value::from(upload.file_id.to_string()))
            .collect();
        assert_eq!(ids, wanted.iter().collect::<Vec<_>>());
    }
}

#[actix_web::test]
async fn a_store_that_is_down_at_first_is_an_error() {
    for (error, refusal) in [
        (unavailable(), (503, "platform_unavailable".to_owned())),
        (broken(), (500, "internal_error".to_owned())),
        (
            Error::Integrity { what: "x" },
            (500, "internal_error".to_owned()),
        ),
    ] {
        assert_eq!(listed(paged(vec![Err(error)])).await.refusal(), refusal);
    }
}

#[actix_web::test]
async fn a_store_that_goes_down_half_way_breaks_the_list_off() {
    let answer = listed(paged(vec![Ok(uploads(0..500)), Err(unavailable())])).await;
    assert_eq!((answer.status, answer.end), (200, End::BrokenOff));
    assert!(serde_json::from_slice::<Value>(&answer.body).is_err());
}
