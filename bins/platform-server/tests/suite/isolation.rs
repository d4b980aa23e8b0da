//! Nobody reaches, or even detects, what is another's.

use uuid::Uuid;

use server_harness::{Form, Store, Workspace, on_each_store};

on_each_store! {
    another_workspaces_file_is_as_if_it_were_not_there,
    every_route_of_a_workspace_is_closed_to_everybody_else,
    another_workspaces_cursor_is_gone,
}

async fn another_workspaces_file_is_as_if_it_were_not_there(store: Store) {
    let server = store.server().with_admin().start();
    let (theirs, their_client) = server.workspace().await;
    let (mine, my_client) = server.workspace().await;
    let file = their_client
        .must_upload(&theirs, "secret.txt", b"theirs")
        .await;
    let absent = Uuid::now_v7().to_string();

    for client in [&my_client, &server.admin()] {
        let foreign = client.get(&mine.content(&file)).await;
        assert_eq!(foreign.status, 404);
        assert_eq!(foreign.body, client.get(&mine.content(&absent)).await.body);
        let foreign = client.post(&mine.ack(&file)).await;
        assert_eq!(foreign.status, 404);
        assert_eq!(foreign.body, client.post(&mine.ack(&absent)).await.body);
    }
    assert_eq!(my_client.waiting(&mine).await.len(), 0);
    assert_eq!(their_client.waiting(&theirs).await.len(), 1);
    assert_eq!(
        their_client.get(&theirs.content(&file)).await.body,
        b"theirs"
    );
}

async fn every_route_of_a_workspace_is_closed_to_everybody_else(store: Store) {
    let server = store.server().start();
    let (theirs, their_client) = server.workspace().await;
    let (_, stranger) = server.workspace().await;
    let file = their_client.must_upload(&theirs, "a.txt", b"theirs").await;
    let nobody = Workspace {
        id: Uuid::new_v4().to_string(),
        ..theirs.clone()
    };

    for client in [server.anonymous(), stranger] {
        let mut bodies = Vec::new();
        for workspace in [&theirs, &nobody] {
            for path in [
                workspace.path("activity"),
                workspace.path("pending-uploads"),
                workspace.content(&file),
            ] {
                bodies.push(client.get(&path).await);
            }
            bodies.push(client.post(&workspace.ack(&file)).await);
            bodies.push(client.upload(workspace, &Form::of_file("b.txt", "b")).await);
            bodies.push(
                client
                    .post_json(&workspace.path("a2a"), &serde_json::json!({}))
                    .await,
            );
        }
        for answer in &bodies {
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (401, "unauthorized")
            );
            assert_eq!(answer.body, bodies[0].body);
        }
    }
    assert_eq!(their_client.waiting(&theirs).await.len(), 1);
}

async fn another_workspaces_cursor_is_gone(store: Store) {
    let server = store.server().start();
    let (theirs, their_client) = server.workspace().await;
    let (mine, my_client) = server.workspace().await;
    their_client.must_upload(&theirs, "a.txt", b"theirs").await;
    let cursor = their_client.feed(&theirs, "").await[0]["id"].clone();
    let cursor = cursor.as_str().unwrap();
    for since in [cursor, &Uuid::now_v7().to_string(), "no-uuid"] {
        let answer = my_client
            .get(&mine.path(&format!("activity?since_id={since}")))
            .await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (410, "cursor_gone"),
            "{since}"
        );
    }
}
