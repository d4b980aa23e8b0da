//! Registering and knowing workspaces.

use serde_json::json;

use super::support::*;
use super::{Fixture, Subject, Terms};
use crate::{
    CallbackUrl, Delivery, DeliveryMode, Error, Registered, Registrar, Registration, Token,
    Workspace, WorkspaceId,
};

/// A registration that says nothing but its id.
fn silent(id: WorkspaceId) -> Registration {
    Registration {
        id,
        delivery_mode: None,
        url: None,
        agent_card: None,
    }
}

fn pushing(id: WorkspaceId, url: &str) -> Registration {
    Registration {
        delivery_mode: Some(DeliveryMode::Push),
        url: Some(callback(url)),
        agent_card: Some(json!({ "name": "agent" })),
        ..silent(id)
    }
}

fn callback(url: &str) -> CallbackUrl {
    url.parse().unwrap()
}

/// Registers as whoever may: anonymous the first time, with its own token later.
async fn register(subject: &Subject, registration: Registration) -> Registered {
    let own = Registrar::Workspace(registration.id);
    let registered = subject.workspaces.register(registration, own);
    registered.await.unwrap()
}

async fn delivery(subject: &Subject, id: WorkspaceId) -> Delivery {
    subject.workspaces.get(id).await.unwrap().delivery
}

/// `Workspaces::register`: the first registration is answered with a token, and no later one.
pub async fn only_the_first_registration_gets_a_token(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let id = WorkspaceId::generate();
    assert!(
        register(&subject, Registration::polling(id))
            .await
            .auth_token
            .is_some()
    );
    assert!(
        register(&subject, Registration::polling(id))
            .await
            .auth_token
            .is_none()
    );
    let by_admin = subject
        .workspaces
        .register(Registration::polling(id), Registrar::Admin);
    assert!(by_admin.await.unwrap().auth_token.is_none());
}

/// `Workspaces::register`: whoever registers a fresh id gets its token.
pub async fn every_registrar_may_register_a_fresh_id(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let stranger = subject.workspace().await;
    for registrar in [
        Registrar::Anonymous,
        Registrar::Workspace(stranger),
        Registrar::Admin,
    ] {
        let id = WorkspaceId::generate();
        let registered = subject.workspaces.register(silent(id), registrar).await;
        assert!(registered.unwrap().auth_token.is_some(), "{registrar:?}");
    }
}

/// `Registration::delivery_mode`: push when the first registration names none.
pub async fn a_mode_that_was_never_named_is_push(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let id = WorkspaceId::generate();
    let registered = register(&subject, silent(id)).await;
    assert_eq!(registered.delivery_mode, DeliveryMode::Push);
}

/// `Registration::delivery_mode`: what is stored when a later registration names none.
pub async fn a_mode_that_is_not_named_again_is_kept(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let id = WorkspaceId::generate();
    register(&subject, Registration::polling(id)).await;
    let registered = register(&subject, silent(id)).await;
    assert_eq!(registered.delivery_mode, DeliveryMode::Poll);
    assert_eq!(delivery(&subject, id).await, Delivery::Poll);
}

/// `Registration::url`: what is stored when a later registration names none, through a change of
/// the mode, too.
pub async fn a_url_that_is_not_named_again_is_kept(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let id = WorkspaceId::generate();
    let url = "https://agent.example:8443/a/b";
    let secret = register(&subject, pushing(id, url)).await.inbound_secret;
    let expected = Delivery::Push {
        url: callback(url),
        secret: secret.unwrap(),
    };
    register(&subject, silent(id)).await;
    assert_eq!(delivery(&subject, id).await, expected);
    register(&subject, Registration::polling(id)).await;
    let push_again = Registration {
        delivery_mode: Some(DeliveryMode::Push),
        ..silent(id)
    };
    register(&subject, push_again).await;
    assert_eq!(delivery(&subject, id).await, expected);
}

/// `Workspaces::authenticate`: a change is seen by the next call in the process that made it, and
/// soon in one that has just looked the workspace up.
pub async fn a_change_is_seen_here_at_once_and_elsewhere_soon(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let id = WorkspaceId::generate();
    let first = register(&subject, pushing(id, "https://one.example")).await;
    let secret = first.inbound_secret.unwrap();
    let token = first.auth_token.unwrap();
    for number in 0..2 {
        let workspaces = subject.either(number).workspaces;
        assert!(workspaces.authenticate(id, &token).await.unwrap().is_some());
    }
    register(&subject, pushing(id, "https://two.example")).await;
    let expected = Workspace {
        id,
        delivery: Delivery::Push {
            url: callback("https://two.example"),
            secret,
        },
    };
    let here = subject.workspaces.authenticate(id, &token).await.unwrap();
    assert_eq!(here.as_ref(), Some(&expected));
    let elsewhere = subject.either(1).workspaces;
    until("the change is seen elsewhere", async || {
        let seen = elsewhere.authenticate(id, &token).await.unwrap();
        seen.as_ref() == Some(&expected)
    })
    .await;
    assert_eq!(elsewhere.get(id).await.unwrap(), expected);
}

/// `Registered::inbound_secret`: the same each time, through a change of the mode, too.
pub async fn the_inbound_secret_never_changes(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let id = WorkspaceId::generate();
    let url = "https://agent.example";
    let first = register(&subject, pushing(id, url)).await.inbound_secret;
    assert!(first.is_some());
    let again = register(&subject, pushing(id, url)).await.inbound_secret;
    assert_eq!(again, first);
    register(&subject, Registration::polling(id)).await;
    let back = register(&subject, pushing(id, url)).await.inbound_secret;
    assert_eq!(back, first);
}

/// `Registered::inbound_secret`: a workspace that polls gets none, until it wants to be called.
pub async fn only_a_push_workspace_gets_an_inbound_secret(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let id = WorkspaceId::generate();
    assert_eq!(
        register(&subject, Registration::polling(id))
            .await
            .inbound_secret,
        None
    );
    let registration = pushing(id, "https://agent.example");
    let pushed = register(&subject, registration).await.inbound_secret;
    assert!(pushed.is_some());
}

/// `Registered::inbound_secret`: each workspace has its own.
pub async fn no_two_workspaces_share_a_secret(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let mut tokens = Vec::new();
    let mut secrets = Vec::new();
    for _ in 0..2 {
        let id = WorkspaceId::generate();
        let registered = register(&subject, pushing(id, "https://agent.example")).await;
        tokens.push(registered.auth_token.unwrap());
        secrets.push(registered.inbound_secret.unwrap());
    }
    assert_ne!(tokens[0].expose(), tokens[1].expose());
    assert!(secrets[0] != secrets[1]);
    assert_ne!(tokens[0].expose(), secrets[0].expose());
}

/// `Workspaces::register`: repeating it with the same words changes nothing.
pub async fn the_same_registration_again_changes_nothing(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let id = WorkspaceId::generate();
    let registration = pushing(id, "https://agent.example");
    let token = register(&subject, registration.clone()).await.auth_token;
    let before = subject.workspaces.get(id).await.unwrap();
    register(&subject, registration).await;
    let token = token.unwrap();
    let after = subject.workspaces.authenticate(id, &token).await.unwrap();
    assert_eq!(after, Some(before));
}

/// `Delivery::Unreachable`: a workspace in push mode that has no URL.
pub async fn a_push_workspace_without_a_url_is_unreachable(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let id = WorkspaceId::generate();
    register(&subject, silent(id)).await;
    assert_eq!(delivery(&subject, id).await, Delivery::Unreachable);
}

/// `Delivery::Poll`: the mode decides, even when there is a URL.
pub async fn a_poll_workspace_polls_even_with_a_url(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let id = WorkspaceId::generate();
    let registration = Registration {
        delivery_mode: Some(DeliveryMode::Poll),
        ..pushing(id, "https://agent.example")
    };
    register(&subject, registration).await;
    assert_eq!(delivery(&subject, id).await, Delivery::Poll);
}

/// `Workspaces::register`: an id that exists is changed only by itself and the admin; a refused
/// attempt changes nothing.
pub async fn a_registration_cannot_be_changed_by_others(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let (id, token) = subject.workspace_with_token().await;
    let stranger = subject.workspace().await;
    for registrar in [Registrar::Anonymous, Registrar::Workspace(stranger)] {
        let hostile = pushing(id, "https://evil.example");
        let registered = subject.workspaces.register(hostile, registrar).await;
        assert_error!(registered, Error::Unauthorized);
    }
    let seen = subject.workspaces.authenticate(id, &token).await.unwrap();
    let delivery = Delivery::Poll;
    assert_eq!(seen, Some(Workspace { id, delivery }));
}

/// `Workspaces::register`: the admin may change every registration, and the token stays good.
pub async fn the_admin_may_change_every_registration(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let (id, token) = subject.workspace_with_token().await;
    let registration = pushing(id, "https://agent.example");
    let registered = subject.workspaces.register(registration, Registrar::Admin);
    registered.await.unwrap();
    let seen = subject.workspaces.authenticate(id, &token).await.unwrap();
    assert!(matches!(seen.unwrap().delivery, Delivery::Push { .. }));
}

/// `Workspaces::authenticate`: a workspace is known by its own token, on every instance.
pub async fn a_workspace_is_known_by_its_token(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let (id, token) = subject.workspace_with_token().await;
    for number in 0..2 {
        let workspaces = subject.either(number).workspaces;
        let seen = workspaces.authenticate(id, &token).await.unwrap();
        assert_eq!(seen.map(|workspace| workspace.id), Some(id));
    }
}

/// Invariant 4: a wrong token, another workspace's token and an unknown workspace are answered
/// alike.
pub async fn a_token_that_does_not_fit_is_nobodys(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let (id, own) = subject.workspace_with_token().await;
    let (_, anothers) = subject.workspace_with_token().await;
    let random = Token::generate().unwrap();
    let short: Token = own.expose()[..63].parse().unwrap();
    for token in [&anothers, &random, &short] {
        let seen = subject.workspaces.authenticate(id, token).await.unwrap();
        assert_eq!(seen, None);
    }
    let nobody = WorkspaceId::generate();
    let seen = subject.workspaces.authenticate(nobody, &own).await.unwrap();
    assert_eq!(seen, None);
}

/// `Workspaces::get`: an unknown workspace is said to be so.
pub async fn a_workspace_that_never_registered_is_unknown(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let found = subject.workspaces.get(WorkspaceId::generate()).await;
    assert_error!(found, Error::UnknownWorkspace);
}
