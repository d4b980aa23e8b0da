//! Who may call.

use actix_web::http::Method;
use pending_uploads_core::MockWorkspaces;

use crate::harness::{
    Admin, Agent, Anonymous, Answer, Ask, Claiming, Fixture, Identity, NOBODY, OTHER, Stranger,
    TestApp, WORKSPACE, broken, file_path, path, unavailable, with_admin,
};

/// Every route that belongs to a workspace, with its method.
const ROUTES: [(Method, &str); 7] = [
    (Method::POST, "chat/uploads"),
    (Method::GET, "activity"),
    (Method::POST, "a2a"),
    (Method::GET, "pending-uploads"),
    (
        Method::GET,
        "pending-uploads/0190f5fe-7c00-7a00-8000-0123456789ab/content",
    ),
    (
        Method::HEAD,
        "pending-uploads/0190f5fe-7c00-7a00-8000-0123456789ab/content",
    ),
    (
        Method::POST,
        "pending-uploads/0190f5fe-7c00-7a00-8000-0123456789ab/ack",
    ),
];

async fn ask_all(app: &TestApp, id: &str, who: &impl Identity) -> Vec<Answer> {
    let mut answers = Vec::new();
    for (method, rest) in ROUTES {
        let ask = Ask::new(method, &format!("/workspaces/{id}/{rest}"));
        answers.push(app.send(ask.by(who)).await);
    }
    answers
}

#[actix_web::test]
async fn a_401_is_the_same_bytes_whoever_asks_for_whatever() {
    let app = Fixture::new().app();
    let mut answers = Vec::new();
    for id in [WORKSPACE, OTHER, NOBODY] {
        answers.extend(ask_all(&app, id, &Anonymous).await);
        answers.extend(ask_all(&app, id, &Claiming("Bearer unknown")).await);
        answers.extend(ask_all(&app, id, &Claiming("Bearer")).await);
        answers.extend(ask_all(&app, id, &Claiming("Bearer  ")).await);
        answers.extend(ask_all(&app, id, &Claiming("Bearer t,k")).await);
        answers.extend(ask_all(&app, id, &Claiming("Basic agent-token")).await);
        answers.extend(ask_all(&app, id, &Claiming("agent-token")).await);
    }
    answers.extend(ask_all(&app, WORKSPACE, &Stranger).await);
    answers.extend(ask_all(&app, NOBODY, &Agent).await);
    answers.extend(ask_all(&app, WORKSPACE, &Admin).await);
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    insta::assert_snapshot!(answers[0].whole(), @r#"
    401
    cache-control: no-store
    content-type: application/json
    www-authenticate: Bearer

    {"error":"a bearer token that opens this workspace is required","code":"unauthorized"}
    "#);
}

#[actix_web::test]
async fn two_authorization_headers_are_none() {
    let app = Fixture::new().app();
    let ask = Ask::get(&path("activity")).by(&Agent);
    let answer = app
        .send(ask.header("authorization", "Bearer agent-token"))
        .await;
    assert_eq!(answer.refusal(), (401, "unauthorized".to_owned()));
}

#[actix_web::test]
async fn the_scheme_is_read_in_any_case() {
    for credentials in [
        "bearer agent-token",
        "BEARER agent-token",
        "Bearer  agent-token",
    ] {
        let app = Fixture::new()
            .storing(|storage| {
                storage.expect_list().return_once(|_, _, _| Ok(Vec::new()));
            })
            .app();
        let answer = app
            .get(&Claiming(credentials), &path("pending-uploads"))
            .await;
        assert_eq!(answer.status, 200, "{credentials}");
    }
}

#[actix_web::test]
async fn an_id_that_is_no_uuid_is_refused_before_the_token_is_looked_at() {
    let app = Fixture::with_workspaces(MockWorkspaces::new()).app();
    for answer in ask_all(&app, "not-a-uuid", &Agent).await {
        assert_eq!(answer.refusal(), (400, "invalid_id".to_owned()));
    }
    for rest in ["content", "ack"] {
        let method = if rest == "ack" {
            Method::POST
        } else {
            Method::GET
        };
        let ask = Ask::new(method, &path(&format!("pending-uploads/not-a-uuid/{rest}")));
        let answer = app.send(ask).await;
        assert_eq!(answer.refusal(), (400, "invalid_id".to_owned()));
        assert!(answer.json()["error"].as_str().unwrap().contains("file id"));
    }
}

#[actix_web::test]
async fn a_store_of_tokens_that_is_down_is_never_a_pass() {
    let mut workspaces = MockWorkspaces::new();
    workspaces
        .expect_authenticate()
        .returning(|_, _| Err(unavailable()));
    let app = Fixture::with_workspaces(workspaces).app();
    let answers = ask_all(&app, WORKSPACE, &Agent).await;
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    insta::assert_snapshot!(answers[0].whole(), @r#"
    503
    cache-control: no-store
    content-type: application/json
    retry-after: 2

    {"error":"the platform is unavailable at the moment, try again soon","code":"platform_unavailable"}
    "#);
}

#[actix_web::test]
async fn a_store_of_tokens_that_fails_is_a_500_that_tells_nothing() {
    let mut workspaces = MockWorkspaces::new();
    workspaces
        .expect_authenticate()
        .returning(|_, _| Err(broken()));
    let app = Fixture::with_workspaces(workspaces).app();
    let answers = ask_all(&app, WORKSPACE, &Agent).await;
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    insta::assert_snapshot!(answers[0].whole(), @r#"
    500
    cache-control: no-store
    content-type: application/json

    {"error":"the platform failed to serve this request","code":"internal_error"}
    "#);
}

#[actix_web::test]
async fn the_admin_opens_every_workspace_and_learns_which_are_not_there() {
    let mut fixture = Fixture::new().storing(|storage| {
        storage.expect_list().return_once(|_, _, _| Ok(Vec::new()));
    });
    fixture.settings = with_admin();
    let app = fixture.app();
    let listed = app.get(&Admin, &path("pending-uploads")).await;
    assert_eq!(listed.status, 200);
    for answer in ask_all(&app, NOBODY, &Admin).await {
        assert_eq!(answer.refusal(), (404, "workspace_not_found".to_owned()));
    }
}

#[actix_web::test]
async fn the_admins_token_is_never_looked_up_among_the_workspaces() {
    let mut workspaces = MockWorkspaces::new();
    workspaces.expect_get().return_once(|_| Err(unavailable()));
    let mut fixture = Fixture::with_workspaces(workspaces);
    fixture.settings = with_admin();
    let answer = fixture.app().get(&Admin, &path("activity")).await;
    assert_eq!(answer.refusal(), (503, "platform_unavailable".to_owned()));
}

#[actix_web::test]
async fn the_body_of_a_refused_request_is_not_read() {
    let app = Fixture::new().app();
    let ask = Ask::new(Method::POST, &file_path("ack")).by(&Stranger);
    let never = futures_util::stream::pending();
    assert_eq!(app.send_streaming(ask, never).await.status, 401);
}
