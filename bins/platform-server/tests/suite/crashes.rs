//! Crashes: of the server, and of clients.

use serde_json::Value;

use server_harness::{
    Form, Part, RawConnection, Server, Store, Workspace, bytes, eventually, on_each_store,
};

const MIB: usize = 1024 * 1024;

on_each_store! {
    what_was_answered_with_200_survives_the_servers_death,
    a_server_that_dies_during_an_upload_leaves_nothing_visible_and_its_bytes_go,
    a_client_that_goes_away_half_way_leaves_nothing,
    a_client_that_falls_silent_is_ended_and_leaves_nothing,
}

async fn what_was_answered_with_200_survives_the_servers_death(store: Store) {
    for (seed, length) in [(10, 10), (11, 5 * MIB)] {
        let server = store.server().start();
        let (workspace, client) = server.workspace().await;
        let data = bytes(seed, length);
        let file = client.must_upload(&workspace, "kept.bin", &data).await;
        server.kill();

        let server = store.server().start();
        let content = server
            .client(&workspace)
            .get(&workspace.content(&file))
            .await;
        assert_eq!(content.status, 200);
        assert!(content.body == data, "other bytes came back");
        assert_eq!(
            server.client(&workspace).feed(&workspace, "").await.len(),
            1
        );
    }
}

/// Begins an upload of `form` and sends all but its last 100 bytes, until some of it is stored.
async fn half_upload(
    server: &Server,
    workspace: &Workspace,
    form: &Form,
    store: &Store,
) -> RawConnection {
    let body = form.body();
    let mut connection = RawConnection::begin_upload(server, workspace, body.len()).await;
    connection.send(&body[..body.len() - 100]).await;
    store.wait_for_staged_bytes().await;
    connection
}

fn two_files() -> Form {
    Form::of([
        Part::file("1.bin", bytes(12, 3 * MIB)),
        Part::file("2.bin", bytes(13, 3 * MIB)),
    ])
}

async fn a_server_that_dies_during_an_upload_leaves_nothing_visible_and_its_bytes_go(store: Store) {
    let server = store.server().start();
    let (workspace, _) = server.workspace().await;
    let connection = half_upload(&server, &workspace, &two_files(), &store).await;
    server.kill();
    drop(connection);

    let server = store
        .server()
        .set("IDLE_TIMEOUT_SECS", 1)
        .set("STAGING_LEASE_SECS", 2)
        .set("SWEEP_INTERVAL_SECS", 1)
        .start();
    let client = server.client(&workspace);
    assert_eq!(client.waiting(&workspace).await, [] as [Value; 0]);
    assert_eq!(client.feed(&workspace, "").await, [] as [Value; 0]);
    store.wait_until_it_holds_no_file().await;
    let said = match &store {
        Store::Postgres(_) => "reason=abandoned",
        // Nobody else can have left anything in the folder, so that it goes when it is opened.
        Store::Sqlite(_) => "deleted what cut-off uploads had left",
    };
    eventually("that is logged", async || {
        server.log().contains(said).then_some(())
    })
    .await;
}

async fn a_client_that_goes_away_half_way_leaves_nothing(store: Store) {
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    drop(half_upload(&server, &workspace, &two_files(), &store).await);
    store.wait_until_it_holds_no_file().await;
    assert_eq!(client.feed(&workspace, "").await, [] as [Value; 0]);
}

async fn a_client_that_falls_silent_is_ended_and_leaves_nothing(store: Store) {
    let server = store.server().set("IDLE_TIMEOUT_SECS", 1).start();
    let (workspace, client) = server.workspace().await;
    let connection = half_upload(&server, &workspace, &two_files(), &store).await;
    let answer = String::from_utf8(connection.read_to_end().await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("idle_timeout"), "{answer}");
    store.wait_until_it_holds_no_file().await;
    assert_eq!(client.feed(&workspace, "").await, [] as [Value; 0]);
}
