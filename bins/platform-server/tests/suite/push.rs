//! Workspaces that are called: uploads and messages go on to their URL.

use serde_json::{Value, json};
use uuid::Uuid;

use server_harness::remember_secret;
use server_harness::{
    Answer, Client, Form, Receiver, Server, Store, Workspace, bytes, on_each_store,
};

on_each_store! {
    an_upload_goes_on_to_the_workspaces_url_and_its_answer_comes_back,
    a_message_goes_on_to_the_workspaces_url,
    a_redirect_is_not_followed,
    a_workspace_that_cannot_be_called_is_502,
    a_callback_to_a_private_address_is_refused_unless_it_is_allowed,
    a_push_workspace_without_a_url_is_answered_as_it_always_was,
}

const TAKEN: &str = "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n\
     Content-Length: 14\r\nConnection: close\r\n\r\n{\"taken\":true}";

async fn register_push(server: &Server, url: &str) -> (Workspace, Client, String) {
    let id = Uuid::new_v4().to_string();
    let answer = register(
        server,
        &json!({"id": id, "delivery_mode": "push", "url": url}),
    )
    .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let secret = answer.json()["platform_inbound_secret"]
        .as_str()
        .unwrap()
        .to_owned();
    remember_secret(&secret);
    let workspace = Workspace {
        id,
        token: answer.secret("auth_token"),
    };
    let client = server.client(&workspace);
    (workspace, client, secret)
}

async fn register(server: &Server, body: &Value) -> Answer {
    let mut body = body.clone();
    body["agent_card"] = json!({"name": "an agent"});
    server
        .anonymous()
        .post_json("/registry/register", &body)
        .await
}

async fn an_upload_goes_on_to_the_workspaces_url_and_its_answer_comes_back(store: Store) {
    let server = store.server().set("ALLOW_PRIVATE_CALLBACKS", true).start();
    let receiver = Receiver::answering(TAKEN).await;
    let (workspace, client, secret) = register_push(&server, &receiver.url()).await;
    let form = Form::of_file("a.bin", bytes(3, 2 * 1024 * 1024));

    let answer = client.upload(&workspace, &form).await;

    assert_eq!(
        (answer.status, answer.json()),
        (201, json!({"taken": true})),
        "{answer:?}"
    );
    let call = receiver.calls().remove(0);
    assert!(
        call.head
            .starts_with("post /agent/internal/chat/uploads/ingest http/1.1\r\n")
    );
    assert!(
        call.head.contains(&secret),
        "the workspace cannot know who calls: {}",
        call.head
    );
    assert!(
        !call.head.contains(&workspace.token),
        "the caller's token went on"
    );
    assert!(call.body.len() >= form.body().len());
    assert!(!store.holds_bytes().await, "the platform kept some of it");
}

async fn a_message_goes_on_to_the_workspaces_url(store: Store) {
    let server = store.server().set("ALLOW_PRIVATE_CALLBACKS", true).start();
    let receiver = Receiver::answering(TAKEN).await;
    let (workspace, client, _) = register_push(&server, &receiver.url()).await;
    let message = json!({
        "jsonrpc": "2.0", "id": "1", "method": "message/send",
        "params": {"message": {"role": "user", "messageId": "m", "parts": []}},
    });
    let answer = client.post_json(&workspace.path("a2a"), &message).await;
    assert_eq!(
        (answer.status, answer.json()),
        (201, json!({"taken": true})),
        "{answer:?}"
    );
    assert_eq!(receiver.calls().len(), 1);
}

async fn a_redirect_is_not_followed(store: Store) {
    let server = store.server().set("ALLOW_PRIVATE_CALLBACKS", true).start();
    let redirect = "HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\n\
         Content-Length: 0\r\nConnection: close\r\n\r\n";
    let receiver = Receiver::answering(redirect).await;
    let (workspace, client, _) = register_push(&server, &receiver.url()).await;
    let answer = client
        .upload(&workspace, &Form::of_file("a.txt", "a"))
        .await;
    assert!(answer.status >= 300, "{answer:?}");
    assert_eq!(receiver.calls().len(), 1);
}

async fn a_workspace_that_cannot_be_called_is_502(store: Store) {
    let server = store.server().set("ALLOW_PRIVATE_CALLBACKS", true).start();
    // Nobody listens on the discard port.
    let (workspace, client, _) = register_push(&server, "http://127.0.0.1:9").await;
    let answer = client
        .upload(&workspace, &Form::of_file("a.txt", "a"))
        .await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (502, "workspace_unreachable")
    );
}

async fn a_callback_to_a_private_address_is_refused_unless_it_is_allowed(store: Store) {
    let server = store.server().start();
    for url in [
        "http://127.0.0.1:80",
        "http://[::1]/x",
        "http://10.0.0.1",
        "http://192.168.1.1",
        "http://169.254.169.254/latest",
        "http://[::ffff:127.0.0.1]",
        "http://localhost",
    ] {
        let body = json!({"id": Uuid::new_v4().to_string(), "delivery_mode": "push", "url": url});
        let answer = register(&server, &body).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (400, "callback_refused"),
            "{url}"
        );
    }
}

async fn a_push_workspace_without_a_url_is_answered_as_it_always_was(store: Store) {
    let server = store.server().start();
    let id = Uuid::new_v4().to_string();
    let answer = register(&server, &json!({"id": id})).await;
    assert_eq!(answer.json()["delivery_mode"], "push", "{answer:?}");
    remember_secret(answer.json()["platform_inbound_secret"].as_str().unwrap());
    let workspace = Workspace {
        id,
        token: answer.secret("auth_token"),
    };
    let client = server.client(&workspace);
    let refused = client
        .upload(&workspace, &Form::of_file("a.txt", "a"))
        .await;
    assert_eq!(refused.status, 422);
    let sentence = refused.json()["error"].as_str().unwrap().to_owned();
    assert!(
        sentence.starts_with("workspace has no callback URL"),
        "{sentence}"
    );
}
