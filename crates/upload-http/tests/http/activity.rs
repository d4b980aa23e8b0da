//! The feed.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use pending_uploads_core::memory::MemoryPlatform;
use pending_uploads_core::{
    Activity, ActivityLog, ActivityQuery, ActivityStatus, ActivityType, Error, FeedStart, FeedText,
    NewActivity, PageSize, Quota, Registrar, Registration, Result, Seq, Source, SystemClock,
    Timestamp, WorkspaceId, Workspaces,
};
use serde_json::{Value, json};

use crate::harness::{
    Agent, Ask, Fixture, OTHER, ROW, broken, now, path, unavailable, upload, workspace,
};

fn row(seq: i64, content: NewActivity) -> Activity {
    Activity {
        id: format!("0190f5fe-7c00-7a00-8000-{seq:012}")
            .parse()
            .unwrap(),
        workspace_id: workspace(),
        seq: Seq(seq),
        created_at: now(),
        content,
    }
}

fn after_row() -> ActivityQuery {
    ActivityQuery::from_start(FeedStart::After(ROW.parse().unwrap()))
}

/// The cursor before the first row.
const NIL: &str = "00000000-0000-0000-0000-000000000000";

/// Expects one reading of the feed by `wanted`.
fn expecting(wanted: ActivityQuery) -> Fixture {
    let mut fixture = Fixture::new();
    fixture
        .activity
        .expect_list()
        .withf(move |id, query| *id == workspace() && *query == wanted)
        .times(1)
        .return_once(|_, _| Ok(Vec::new()));
    fixture
}

#[actix_web::test]
async fn rows_have_the_contracts_fields() {
    let mut fixture = Fixture::new();
    let from_agent = NewActivity {
        activity_type: ActivityType::A2A_RECEIVE,
        source_id: Some(OTHER.parse::<WorkspaceId>().unwrap()),
        target_id: None,
        method: None,
        summary: None,
        request_body: None,
        response_body: Some(json!({"ok": true})),
        duration_ms: Some(12),
        status: ActivityStatus::Error,
        error_detail: Some(FeedText::clean("it broke")),
    };
    fixture.activity.expect_list().return_once(|_, _| {
        Ok(vec![
            row(1, NewActivity::announcement(&upload())),
            row(2, from_agent),
        ])
    });
    let answer = fixture.app().get(&Agent, &path("activity")).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    insta::assert_json_snapshot!(answer.json(), @r#"
    [
      {
        "id": "0190f5fe-7c00-7a00-8000-000000000001",
        "workspace_id": "11111111-1111-4111-8111-111111111111",
        "activity_type": "a2a_receive",
        "source_id": null,
        "target_id": "11111111-1111-4111-8111-111111111111",
        "method": "chat_upload_receive",
        "summary": "chat_upload_receive: mein_Bericht.pdf",
        "request_body": {
          "file_id": "0190f5fe-7c00-7a00-8000-0123456789ab",
          "name": "mein_Bericht.pdf",
          "mimeType": "application/pdf",
          "size": 10,
          "uri": "platform-pending:11111111-1111-4111-8111-111111111111/0190f5fe-7c00-7a00-8000-0123456789ab",
          "originalName": "mein Bericht.pdf",
          "sha256": "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882"
        },
        "response_body": null,
        "duration_ms": null,
        "status": "ok",
        "error_detail": null,
        "created_at": "2026-05-04T12:00:00Z",
        "seq": 1
      },
      {
        "id": "0190f5fe-7c00-7a00-8000-000000000002",
        "workspace_id": "11111111-1111-4111-8111-111111111111",
        "activity_type": "a2a_receive",
        "source_id": "22222222-2222-4222-8222-222222222222",
        "target_id": null,
        "method": null,
        "summary": null,
        "request_body": null,
        "response_body": {
          "ok": true
        },
        "duration_ms": 12,
        "status": "error",
        "error_detail": "it broke",
        "created_at": "2026-05-04T12:00:00Z",
        "seq": 2
      }
    ]
    "#);
}

#[actix_web::test]
async fn every_filter_reaches_the_feed() {
    let newest = ActivityQuery::from_start(FeedStart::Newest);
    let a_minute = Duration::from_mins(1);
    for (query, wanted) in [
        (String::new(), newest.clone()),
        (format!("?since_id={ROW}"), after_row()),
        (
            format!("?since_id={NIL}"),
            ActivityQuery::from_start(FeedStart::Oldest),
        ),
        (
            "?type=a2a_receive".to_owned(),
            ActivityQuery {
                activity_type: Some(ActivityType::A2A_RECEIVE),
                ..newest.clone()
            },
        ),
        (
            "?source=canvas".to_owned(),
            ActivityQuery {
                source: Some(Source::Canvas),
                ..newest.clone()
            },
        ),
        (
            "?source=agent&limit=501".to_owned(),
            ActivityQuery {
                source: Some(Source::Agent),
                limit: PageSize::capped(500).unwrap(),
                ..newest.clone()
            },
        ),
        (
            "?since_secs=60".to_owned(),
            ActivityQuery {
                created_since: Some(now().saturating_sub(a_minute)),
                ..newest.clone()
            },
        ),
        (
            "?before_ts=2026-05-04T14:01:00%2B02:00".to_owned(),
            ActivityQuery {
                created_before: Some(now().saturating_add(a_minute)),
                ..newest.clone()
            },
        ),
    ] {
        let app = expecting(wanted).app();
        let answer = app.get(&Agent, &path(&format!("activity{query}"))).await;
        assert_eq!((answer.status, answer.json()), (200, json!([])), "{query}");
    }
}

#[actix_web::test]
async fn a_query_that_does_not_fit_is_refused_by_name() {
    let app = Fixture::new().app();
    for (query, name) in [
        ("source=nobody", "source"),
        ("limit=0", "limit"),
        ("since_secs=soon", "since_secs"),
        ("before_ts=yesterday", "before_ts"),
        ("wait=-1", "wait"),
        ("type=%00", "type"),
    ] {
        let answer = app.get(&Agent, &path(&format!("activity?{query}"))).await;
        assert_eq!(answer.refusal(), (400, "invalid_query".to_owned()));
        assert_eq!(answer.json()["parameter"], name);
    }
}

#[actix_web::test]
async fn a_cursor_that_is_gone_says_how_to_recover() {
    let mut fixture = Fixture::new();
    fixture
        .activity
        .expect_list()
        .returning(|_, _| Err(Error::CursorGone));
    fixture
        .activity
        .expect_wait()
        .returning(|_, _, _| Err(Error::CursorGone));
    let app = fixture.app();
    let gone = app
        .get(&Agent, &path(&format!("activity?since_id={ROW}")))
        .await;
    let no_id = app.get(&Agent, &path("activity?since_id=17")).await;
    let waiting = path(&format!("activity?since_id={ROW}&wait=60"));
    assert_eq!(gone, no_id);
    assert_eq!(gone, app.get(&Agent, &waiting).await);
    insta::assert_snapshot!(gone.whole(), @r#"
    410
    cache-control: no-store
    content-type: application/json

    {"error":"the row that since_id names is not in this workspace's feed: begin again with the nil UUID as since_id, and list pending-uploads for the files that are waiting","code":"cursor_gone","recover":"GET activity with since_id=00000000-0000-0000-0000-000000000000 and go on from there, and GET pending-uploads for every file that is still waiting"}
    "#);
}

/// Expects one wait of that many seconds after [`ROW`].
fn waiting(secs: u64) -> Fixture {
    let mut fixture = Fixture::new();
    fixture
        .activity
        .expect_wait()
        .withf(move |id, query, patience| {
            *id == workspace() && *query == after_row() && *patience == Duration::from_secs(secs)
        })
        .times(1)
        .return_once(|_, _, _| Ok(vec![row(7, NewActivity::announcement(&upload()))]));
    fixture
}

#[actix_web::test]
async fn a_reader_with_a_cursor_can_wait() {
    for (wait, secs) in [
        ("1", 1),
        ("60", 60),
        ("61", 60),
        ("99999999999999999999", 60),
    ] {
        let app = waiting(secs).app();
        let path = path(&format!("activity?since_id={ROW}&wait={wait}"));
        let answer = app.get(&Agent, &path).await;
        assert_eq!(answer.json()[0]["seq"], 7);
        assert_eq!(answer.header("preference-applied"), "");
    }
}

#[actix_web::test]
async fn a_reader_of_an_empty_feed_is_answered_with_its_first_row() {
    let mut fixture = Fixture::new();
    let memory = memory_with_the_workspace().await;
    fixture.feed = Some(Arc::new(memory.clone()));
    let app = fixture.app();
    let empty = app
        .get(&Agent, &path(&format!("activity?since_id={NIL}")))
        .await;
    assert_eq!((empty.status, empty.json()), (200, json!([])));
    let ask = Ask::get(&path(&format!("activity?since_id={NIL}"))).by(&Agent);
    let request = app.send(ask.header("prefer", "wait=60"));
    let mut request = std::pin::pin!(request);
    for _ in 0..5 {
        assert!(request.as_mut().now_or_never().is_none());
    }
    let message = NewActivity::message(workspace(), "message/send", json!({}));
    let first = memory.append(workspace(), message).await.unwrap();
    let answer = request.await;
    assert_eq!(answer.json()[0]["id"], first.id.to_string());
    assert_eq!(answer.header("preference-applied"), "wait=60");
}

/// A store in which the workspace of these tests is registered, and its feed empty.
async fn memory_with_the_workspace() -> MemoryPlatform {
    let day = Duration::from_hours(24);
    let memory = MemoryPlatform::new(Arc::new(SystemClock), day, Quota::default());
    let registration = Registration::polling(workspace());
    let registered = memory.register(registration, Registrar::Anonymous).await;
    registered.unwrap();
    memory
}

#[actix_web::test]
async fn a_preference_to_wait_is_heeded_and_the_answer_says_so() {
    for (prefer, secs) in [
        ("wait=9", 9),
        ("respond-async, wait=\"9\"", 9),
        ("wait=100", 60),
    ] {
        let app = waiting(secs).app();
        let ask = Ask::get(&path(&format!("activity?since_id={ROW}"))).by(&Agent);
        let answer = app.send(ask.header("prefer", prefer)).await;
        assert_eq!(answer.json()[0]["seq"], 7);
        assert_eq!(answer.header("preference-applied"), format!("wait={secs}"));
    }
}

#[actix_web::test]
async fn a_preference_that_cannot_be_heeded_is_not_said_to_be() {
    for (query, prefer) in [
        (String::new(), "wait=9"),
        (format!("?since_id={ROW}"), "wait=soon"),
        (format!("?since_id={ROW}&wait=0"), "wait=9"),
    ] {
        let start = if query.is_empty() {
            ActivityQuery::from_start(FeedStart::Newest)
        } else {
            after_row()
        };
        let app = expecting(start).app();
        let ask = Ask::get(&path(&format!("activity{query}"))).by(&Agent);
        let answer = app.send(ask.header("prefer", prefer)).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("preference-applied"), "");
    }
}

/// A feed in which nothing ever happens.
struct Silent;

#[async_trait]
impl ActivityLog for Silent {
    async fn append(&self, _: WorkspaceId, _: NewActivity) -> Result<Activity> {
        pending().await
    }

    async fn list(&self, _: WorkspaceId, _: &ActivityQuery) -> Result<Vec<Activity>> {
        pending().await
    }

    async fn wait(&self, _: WorkspaceId, _: &ActivityQuery, _: Duration) -> Result<Vec<Activity>> {
        pending().await
    }

    async fn prune(&self, _: Timestamp) -> Result<u64> {
        pending().await
    }
}

#[actix_web::test]
async fn a_reader_who_waits_is_answered_at_once_when_the_platform_stops() {
    let mut fixture = Fixture::new();
    let shutdown = fixture.shutdown.clone();
    fixture.feed = Some(Arc::new(Silent));
    let app = fixture.app();
    let path = path(&format!("activity?since_id={ROW}&wait=60"));
    let request = app.get(&Agent, &path);
    let mut request = std::pin::pin!(request);
    for _ in 0..5 {
        assert!(request.as_mut().now_or_never().is_none());
    }
    shutdown.cancel();
    let answer = request.await;
    assert_eq!((answer.status, answer.json()), (200, json!([])));
}

#[actix_web::test]
async fn a_feed_that_cannot_be_read_is_an_error() {
    for (error, refusal) in [
        (unavailable(), (503, "platform_unavailable".to_owned())),
        (broken(), (500, "internal_error".to_owned())),
        (
            Error::Integrity { what: "x" },
            (500, "internal_error".to_owned()),
        ),
    ] {
        let mut fixture = Fixture::new();
        fixture
            .activity
            .expect_list()
            .return_once(|_, _| Err(error));
        let answer = fixture.app().get(&Agent, &path("activity")).await;
        assert_eq!(answer.refusal(), refusal);
    }
}

#[actix_web::test]
async fn an_empty_feed_is_an_empty_array() {
    let app = expecting(ActivityQuery::from_start(FeedStart::Newest)).app();
    let answer = app.get(&Agent, &path("activity")).await;
    assert_eq!(answer.json(), Value::Array(Vec::new()));
}
