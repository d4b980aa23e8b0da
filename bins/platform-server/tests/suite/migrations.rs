//! The database's tables: up, back, and a server on a database that lacks some of them.

use pg_cluster::TestDatabase;
use serde_json::{Value, json};
use uuid::Uuid;

use server_harness::database::{db_value, migrate, migrated};
use server_harness::{Form, ServerBuilder, eventually};

const TABLES: &str = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' \
     AND tablename <> 'refinery_schema_history'";

#[tokio::test]
async fn migrations_go_up_and_back() {
    let database = TestDatabase::create();
    let url = database.url();
    let up = "applied V1__workspaces_and_feed\napplied V2__pending_uploads\n\
              applied V3__waiting_bounds\napplied V4__expiry_indexes\n\
              applied V5__chunks_in_their_page\n";
    let back = "undid V5__chunks_in_their_page\nundid V4__expiry_indexes\nundid V3__waiting_bounds\n\
                undid V2__pending_uploads\nundid V1__workspaces_and_feed\n";
    assert_eq!(migrate(&url, &[]), up);
    assert_eq!(migrate(&url, &[]), "nothing to do\n");
    assert_eq!(
        migrate(&url, &["--down-to", "1"]),
        "undid V5__chunks_in_their_page\nundid V4__expiry_indexes\n\
         undid V3__waiting_bounds\nundid V2__pending_uploads\n"
    );
    assert_eq!(
        migrate(&url, &[]),
        "applied V2__pending_uploads\napplied V3__waiting_bounds\n\
         applied V4__expiry_indexes\napplied V5__chunks_in_their_page\n"
    );
    assert_eq!(migrate(&url, &["--down-to", "0"]), back);
    assert_eq!(db_value::<i64>(&url, TABLES).await, 0);
    assert_eq!(migrate(&url, &["--down-to", "0"]), "nothing to do\n");
    assert_eq!(migrate(&url, &[]), up);
}

#[test]
fn a_version_that_does_not_exist_is_refused() {
    let database = migrated();
    let builder = ServerBuilder::bare().set("DATABASE_URL", database.url());
    let (status, process) = builder.arg("migrate").arg("--down-to=99").run();
    assert_eq!(status.code(), Some(1));
    assert!(process.log().contains("99"), "{}", process.log());
}

#[test]
fn a_server_on_an_empty_database_says_what_to_do() {
    let database = TestDatabase::create();
    let (status, process) = ServerBuilder::on(&database.url()).run();
    assert_eq!(status.code(), Some(1));
    assert!(
        process.log().contains("platform-server migrate"),
        "{}",
        process.log()
    );
    assert_eq!(process.stdout(), "");
}

#[tokio::test]
async fn a_server_whose_database_lacks_the_uploads_serves_everything_else() {
    let database = migrated();
    migrate(&database.url(), &["--down-to", "1"]);
    let server = ServerBuilder::on(&database.url()).start();
    let warnings = server
        .log()
        .lines()
        .filter(|line| line.contains("migrate"))
        .count();
    assert_eq!(warnings, 1, "{}", server.log());
    let (workspace, client) = server.workspace().await;

    let upload = client
        .upload(&workspace, &Form::of_file("a.txt", "a"))
        .await;
    assert_eq!(upload.status, 422, "{upload:?}");
    let sentence = upload.json()["error"].clone();
    assert!(
        sentence
            .as_str()
            .unwrap()
            .starts_with("workspace has no callback URL"),
        "{sentence}"
    );
    assert_eq!(client.waiting(&workspace).await, [] as [Value; 0]);
    let file = Uuid::now_v7().to_string();
    assert_eq!(client.get(&workspace.content(&file)).await.status, 404);
    assert_eq!(client.post(&workspace.ack(&file)).await.status, 404);

    let message = json!({
        "jsonrpc": "2.0", "id": "1", "method": "message/send",
        "params": {"message": {"role": "user", "messageId": "m", "parts": []}},
    });
    assert_eq!(
        client
            .post_json(&workspace.path("a2a"), &message)
            .await
            .status,
        200
    );
    assert_eq!(client.feed(&workspace, "").await.len(), 1);
    for path in ["/readyz", "/healthz", "/metrics", "/uploads/limits"] {
        assert_eq!(client.get(path).await.status, 200, "{path}");
    }

    migrate(&database.url(), &[]);
    let server = ServerBuilder::on(&database.url()).start();
    server
        .client(&workspace)
        .must_upload(&workspace, "a.txt", b"a")
        .await;
}

#[tokio::test]
async fn a_server_whose_database_lacks_the_uploads_prunes_its_feeds() {
    let database = migrated();
    migrate(&database.url(), &["--down-to", "1"]);
    let server = ServerBuilder::on(&database.url())
        .set("FEED_RETENTION_SECS", 1)
        .set("SWEEP_INTERVAL_SECS", 1)
        .start();
    let (workspace, client) = server.workspace().await;
    for id in ["one", "two"] {
        let message = json!({
            "jsonrpc": "2.0", "id": id, "method": "message/send",
            "params": {"message": {"role": "user", "messageId": id, "parts": []}},
        });
        let sent = client.post_json(&workspace.path("a2a"), &message).await;
        assert_eq!(sent.status, 200, "{sent:?}");
    }
    eventually("the newest row alone is left", async || {
        (client.feed(&workspace, "").await.len() == 1).then_some(())
    })
    .await;
}
