//! What is not about a workspace: limits, health, metrics, and paths that nobody serves.

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;

use actix_web::http::Method;
use async_trait::async_trait;
use pending_uploads_core::Limits;
use upload_http::{NotReady, Readiness};

use crate::harness::{Agent, Anonymous, Ask, Fixture, file_path, path};

#[actix_web::test]
async fn the_limits_are_public() {
    let mut fixture = Fixture::new();
    fixture.settings.limits = Limits::new(
        NonZeroU64::new(1000).unwrap(),
        NonZeroU64::new(6000).unwrap(),
        NonZeroU32::new(3).unwrap(),
    )
    .unwrap();
    let answer = fixture.app().get(&Anonymous, "/uploads/limits").await;
    insta::assert_snapshot!(answer.whole(), @r#"
    200
    content-type: application/json

    {"per_file_bytes":1000,"per_request_bytes":6000,"max_attachments_per_message":3}
    "#);
}

#[actix_web::test]
async fn a_process_that_runs_is_alive() {
    let answer = Fixture::new().app().get(&Anonymous, "/healthz").await;
    insta::assert_snapshot!(answer.whole(), @r#"
    200
    cache-control: no-store
    content-type: application/json

    {"status":"ok"}
    "#);
}

struct NotYet;

#[async_trait]
impl Readiness for NotYet {
    async fn check(&self) -> Result<(), NotReady> {
        Err(NotReady {
            reason: "secret_table is missing".to_owned(),
        })
    }
}

#[actix_web::test]
async fn a_platform_is_ready_until_its_backends_say_otherwise_or_it_stops() {
    let fixture = Fixture::new();
    let shutdown = fixture.shutdown.clone();
    let app = fixture.app();
    let ready = app.get(&Anonymous, "/readyz").await;
    insta::assert_snapshot!(ready.whole(), @r#"
    200
    cache-control: no-store
    content-type: application/json

    {"status":"ready"}
    "#);

    let mut fixture = Fixture::new();
    fixture.readiness = Some(Arc::new(NotYet));
    let not_ready = fixture.app().get(&Anonymous, "/readyz").await;
    insta::assert_snapshot!(not_ready.whole(), @r#"
    503
    cache-control: no-store
    content-type: application/json
    retry-after: 2

    {"error":"the platform is not ready to serve","code":"not_ready"}
    "#);

    shutdown.cancel();
    assert_eq!(app.get(&Anonymous, "/readyz").await, not_ready);
}

#[actix_web::test]
async fn metrics_are_what_the_renderer_prints() {
    let mut fixture = Fixture::new();
    fixture.metrics = Some(Arc::new(|| "a_total 1\n".to_owned()));
    let answer = fixture.app().get(&Anonymous, "/metrics").await;
    insta::assert_snapshot!(answer.whole(), @"
    200
    content-type: text/plain; version=0.0.4; charset=utf-8

    a_total 1
    ");
}

#[actix_web::test]
async fn a_platform_without_a_renderer_has_no_metrics() {
    let app = Fixture::new().app();
    let answer = app.get(&Anonymous, "/metrics").await;
    assert_eq!(answer, app.get(&Anonymous, "/nowhere").await);
}

#[actix_web::test]
async fn a_path_that_nobody_serves_is_refused_in_the_shape_of_every_error() {
    let answer = Fixture::new().app().get(&Agent, &path("nothing")).await;
    insta::assert_snapshot!(answer.whole(), @r#"
    404
    cache-control: no-store
    content-type: application/json

    {"error":"nothing is served at this path","code":"route_not_found"}
    "#);
}

#[actix_web::test]
async fn a_method_that_a_path_is_not_served_by_is_refused_with_those_that_are() {
    let app = Fixture::new().app();
    for (path, allow) in [
        ("/registry/register".to_owned(), "POST"),
        (path("chat/uploads"), "POST"),
        (path("activity"), "GET, HEAD"),
        (path("a2a"), "POST"),
        (path("pending-uploads"), "GET, HEAD"),
        (file_path("content"), "GET, HEAD"),
        (file_path("ack"), "POST"),
        ("/uploads/limits".to_owned(), "GET, HEAD"),
        ("/healthz".to_owned(), "GET, HEAD"),
        ("/readyz".to_owned(), "GET, HEAD"),
        ("/metrics".to_owned(), "GET, HEAD"),
    ] {
        let answer = app.send(Ask::new(Method::DELETE, &path)).await;
        assert_eq!(answer.refusal(), (405, "method_not_allowed".to_owned()));
        assert_eq!(answer.header("allow"), allow, "{path}");
    }
}

#[actix_web::test]
async fn a_head_is_served_where_a_get_is() {
    let app = Fixture::new().app();
    for path in ["/uploads/limits", "/healthz", "/readyz"] {
        assert_eq!(app.head(&Anonymous, path).await.status, 200, "{path}");
    }
}
