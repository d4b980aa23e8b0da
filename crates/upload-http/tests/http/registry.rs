//! Registration.

use actix_web::http::Method;
use bytes::Bytes;
use futures_util::stream;
use pending_uploads_core::{
    DeliveryMode, Error, InboundSecret, MockWorkspaces, Registered, Registrar, Registration,
};
use serde_json::{Value, json};
use upload_http::{CallbackPolicy, RegistrationPolicy, Settings};

use crate::harness::{
    Admin, Agent, Anonymous, Ask, Claiming, Fixture, Identity, Stranger, WORKSPACE, broken,
    unavailable, with_admin, workspace,
};

const PATH: &str = "/registry/register";

fn poll() -> Value {
    json!({"id": WORKSPACE, "delivery_mode": "poll", "agent_card": {"name": "laptop"}})
}

/// Expects one registration by `registrar` and answers it as a poll-mode workspace's.
fn expecting(registrar: Registrar) -> Fixture {
    let mut fixture = Fixture::new();
    fixture
        .workspaces
        .expect_register()
        .withf(move |_, by| *by == registrar)
        .times(1)
        .return_once(|_, _| Ok(registered(DeliveryMode::Poll)));
    fixture
}

fn registered(delivery_mode: DeliveryMode) -> Registered {
    Registered {
        delivery_mode,
        auth_token: None,
        inbound_secret: None,
    }
}

#[actix_web::test]
async fn a_first_registration_gets_a_token() {
    let mut fixture = Fixture::new();
    fixture
        .workspaces
        .expect_register()
        .withf(|registration, registrar| {
            let wanted = Registration {
                id: workspace(),
                delivery_mode: Some(DeliveryMode::Poll),
                url: None,
                agent_card: Some(json!({"name": "laptop"})),
            };
            *registration == wanted && *registrar == Registrar::Anonymous
        })
        .return_once(|_, _| {
            Ok(Registered {
                auth_token: Some("new-token".parse().unwrap()),
                ..registered(DeliveryMode::Poll)
            })
        });
    let answer = fixture.app().post_json(&Anonymous, PATH, &poll()).await;
    insta::assert_snapshot!(answer.whole(), @r#"
    200
    cache-control: no-store
    content-type: application/json

    {"status":"registered","delivery_mode":"poll","auth_token":"new-token"}
    "#);
}

#[actix_web::test]
async fn a_push_workspace_also_gets_the_secret_that_it_knows_us_by() {
    let mut fixture = Fixture::new();
    fixture
        .workspaces
        .expect_register()
        .withf(|registration, _| {
            let url = registration.url.as_ref().map(ToString::to_string);
            url.as_deref() == Some("https://agent.example/hook")
                && registration.delivery_mode == Some(DeliveryMode::Push)
        })
        .return_once(|_, _| {
            Ok(Registered {
                auth_token: Some("new-token".parse().unwrap()),
                inbound_secret: Some(InboundSecret::restore("secret".to_owned())),
                ..registered(DeliveryMode::Push)
            })
        });
    let body =
        json!({"id": WORKSPACE, "delivery_mode": "push", "url": "https://agent.example/hook"});
    let answer = fixture.app().post_json(&Anonymous, PATH, &body).await;
    insta::assert_snapshot!(answer.whole(), @r#"
    200
    cache-control: no-store
    content-type: application/json

    {"status":"registered","delivery_mode":"push","auth_token":"new-token","platform_inbound_secret":"secret"}
    "#);
}

#[actix_web::test]
async fn what_is_left_out_is_left_to_the_store() {
    for body in [
        json!({"id": WORKSPACE}),
        json!({"id": WORKSPACE, "delivery_mode": null, "url": null, "agent_card": null}),
        json!({"id": WORKSPACE, "url": "", "unknown": 1}),
    ] {
        let mut fixture = Fixture::new();
        fixture
            .workspaces
            .expect_register()
            .withf(|registration, _| {
                registration.delivery_mode.is_none()
                    && registration.url.is_none()
                    && registration.agent_card.is_none()
            })
            .return_once(|_, _| Ok(registered(DeliveryMode::Push)));
        let answer = fixture.app().post_json(&Anonymous, PATH, &body).await;
        let wanted = json!({"status": "registered", "delivery_mode": "push"});
        assert_eq!((answer.status, answer.json()), (200, wanted));
    }
}

#[actix_web::test]
async fn the_store_learns_who_registers() {
    let agent = expecting(Registrar::Workspace(workspace())).app();
    assert_eq!(agent.post_json(&Agent, PATH, &poll()).await.status, 200);
    let stranger = expecting(Registrar::Anonymous).app();
    assert_eq!(
        stranger.post_json(&Stranger, PATH, &poll()).await.status,
        200
    );
    let mut admin = expecting(Registrar::Admin);
    admin.settings = with_admin();
    assert_eq!(
        admin.app().post_json(&Admin, PATH, &poll()).await.status,
        200
    );
}

#[actix_web::test]
async fn an_id_that_is_somebodys_is_refused_as_every_bad_token_is() {
    let mut fixture = Fixture::new();
    fixture
        .workspaces
        .expect_register()
        .returning(|_, _| Err(Error::Unauthorized));
    let app = fixture.app();
    let by_stranger = app.post_json(&Stranger, PATH, &poll()).await;
    assert_eq!(by_stranger, app.post_json(&Anonymous, PATH, &poll()).await);
    assert_eq!(by_stranger.refusal(), (401, "unauthorized".to_owned()));
    assert_eq!(by_stranger.header("www-authenticate"), "Bearer");
}

async fn status_when_closed(who: &impl Identity) -> u16 {
    let mut fixture = Fixture::new();
    fixture.settings = Settings {
        registration: RegistrationPolicy::AdminOnly,
        ..with_admin()
    };
    fixture
        .workspaces
        .expect_register()
        .returning(|_, _| Ok(registered(DeliveryMode::Poll)));
    fixture.app().post_json(who, PATH, &poll()).await.status
}

#[actix_web::test]
async fn where_registration_is_the_admins_others_only_change_their_own() {
    assert_eq!(status_when_closed(&Anonymous).await, 401);
    assert_eq!(status_when_closed(&Stranger).await, 401);
    assert_eq!(status_when_closed(&Claiming("Bearer unknown")).await, 401);
    assert_eq!(status_when_closed(&Agent).await, 200);
    assert_eq!(status_when_closed(&Admin).await, 200);
}

#[actix_web::test]
async fn a_field_that_does_not_fit_is_named() {
    let app = Fixture::new().app();
    for (body, field) in [
        (json!({}), "id"),
        (json!({"id": 5}), "id"),
        (json!({"id": "not-a-uuid"}), "id"),
        (
            json!({"id": WORKSPACE, "delivery_mode": "carrier-pigeon"}),
            "delivery_mode",
        ),
        (
            json!({"id": WORKSPACE, "delivery_mode": ""}),
            "delivery_mode",
        ),
        (
            json!({"id": WORKSPACE, "delivery_mode": 1}),
            "delivery_mode",
        ),
        (json!({"id": WORKSPACE, "url": "agent.example"}), "url"),
        (
            json!({"id": WORKSPACE, "url": "ftp://agent.example"}),
            "url",
        ),
        (
            json!({"id": WORKSPACE, "url": "https://u:p@agent.example"}),
            "url",
        ),
        (json!({"id": WORKSPACE, "url": 7}), "url"),
        (
            json!({"id": WORKSPACE, "agent_card": "laptop"}),
            "agent_card",
        ),
    ] {
        let answer = app.post_json(&Anonymous, PATH, &body).await;
        assert_eq!(
            answer.refusal(),
            (400, "invalid_field".to_owned()),
            "{body}"
        );
        assert_eq!(answer.json()["field"], field, "{body}");
        let sentence = answer.json()["error"].to_string();
        assert!(sentence.contains(field), "{sentence}");
    }
}

#[actix_web::test]
async fn a_url_that_leads_into_the_platforms_own_network_is_refused_unless_settings_allow_it() {
    let body = json!({"id": WORKSPACE, "delivery_mode": "push", "url": "http://127.0.0.1:9000"});
    let refused = Fixture::new()
        .app()
        .post_json(&Anonymous, PATH, &body)
        .await;
    assert_eq!(refused.refusal(), (400, "callback_refused".to_owned()));

    let mut fixture = expecting(Registrar::Anonymous);
    fixture.settings.callbacks = CallbackPolicy::AllowPrivate;
    assert_eq!(
        fixture
            .app()
            .post_json(&Anonymous, PATH, &body)
            .await
            .status,
        200
    );
}

#[actix_web::test]
async fn a_body_that_is_no_json_is_refused() {
    let app = Fixture::new().app();
    for body in ["", "{", "id=1", "{} {}", "\u{feff}{}"] {
        let answer = app.post(&Anonymous, PATH, body).await;
        assert_eq!(answer.refusal(), (400, "invalid_json".to_owned()), "{body}");
    }
    let deep = "[".repeat(60_000);
    let answer = app.post(&Anonymous, PATH, deep).await;
    assert_eq!(answer.refusal(), (400, "invalid_json".to_owned()));
}

#[actix_web::test]
async fn a_body_that_is_no_object_is_told_so() {
    let app = Fixture::new().app();
    for body in [json!([]), json!([WORKSPACE]), json!("id"), Value::Null] {
        let answer = app.post_json(&Anonymous, PATH, &body).await;
        assert_eq!(answer.refusal(), (400, "invalid_json".to_owned()), "{body}");
        let sentence = "the body is not a JSON object";
        assert_eq!(answer.json()["error"], sentence, "{body}");
    }
}

#[actix_web::test]
async fn anybody_may_register_so_little_is_read_of_him() {
    let at_most = 64 * 1024;
    let padded = |bytes| {
        let mut body = poll().to_string().into_bytes();
        body.resize(bytes, b' ');
        body
    };
    let taken = expecting(Registrar::Anonymous).app();
    let answer = taken.post(&Anonymous, PATH, padded(at_most)).await;
    assert_eq!(answer.status, 200);

    let app = Fixture::new().app();
    let announced = app.post(&Anonymous, PATH, padded(at_most + 1)).await;
    let unannounced = Ask::new(Method::POST, PATH);
    let pieces = stream::repeat_with(|| Ok(Bytes::from(vec![b' '; 1000])));
    let endless = app.send_streaming(unannounced, pieces).await;
    for answer in [announced, endless] {
        assert_eq!(answer.refusal(), (413, "request_too_large".to_owned()));
        assert_eq!(answer.json()["max"], at_most);
    }
}

#[actix_web::test]
async fn where_registration_is_the_admins_a_body_without_a_token_is_not_read() {
    let mut fixture = Fixture::new();
    fixture.settings = Settings {
        registration: RegistrationPolicy::AdminOnly,
        ..with_admin()
    };
    let app = fixture.app();
    for ask in [
        Ask::new(Method::POST, PATH),
        Ask::new(Method::POST, PATH).by(&Claiming("Basic abc")),
    ] {
        let answer = app.send_streaming(ask, stream::pending()).await;
        assert_eq!(answer.refusal(), (401, "unauthorized".to_owned()));
    }
}

#[actix_web::test]
async fn a_store_that_is_down_or_fails_is_told_apart() {
    for (error, refusal) in [
        (unavailable(), (503, "platform_unavailable".to_owned())),
        (broken(), (500, "internal_error".to_owned())),
    ] {
        let mut workspaces = MockWorkspaces::new();
        workspaces.expect_register().return_once(|_, _| Err(error));
        let app = Fixture::with_workspaces(workspaces).app();
        let answer = app.post_json(&Anonymous, PATH, &poll()).await;
        assert_eq!(answer.refusal(), refusal);
    }
}

#[actix_web::test]
async fn a_token_that_cannot_be_checked_is_not_taken_for_none() {
    let mut workspaces = MockWorkspaces::new();
    workspaces
        .expect_authenticate()
        .return_once(|_, _| Err(unavailable()));
    let app = Fixture::with_workspaces(workspaces).app();
    let answer = app.post_json(&Agent, PATH, &poll()).await;
    assert_eq!(answer.refusal(), (503, "platform_unavailable".to_owned()));
}
