//! Files that nobody came for.

use crate::support::client::text;
use crate::support::database::{db_count, migrated};
use crate::support::{ServerBuilder, eventually};

#[tokio::test]
async fn a_file_that_expired_is_gone_and_the_feed_says_so() {
    let database = migrated();
    let url = database.url();
    let server = ServerBuilder::on(&url)
        .set("UPLOAD_TTL_SECS", 1)
        .set("SWEEP_INTERVAL_SECS", 1)
        .start();
    let (workspace, client) = server.workspace().await;
    let file = client.must_upload(&workspace, "late.txt", b"late").await;
    let cursor = text(&client.feed(&workspace, "type=a2a_receive").await[0], "id");

    let rows = server.wait_for_rows(&workspace, &cursor, 30).await;

    assert_eq!(rows[0]["activity_type"], "chat_upload_expired");
    assert_eq!(rows[0]["status"], "error");
    assert_eq!(rows[0]["request_body"]["file_id"], file.as_str());
    assert_eq!(client.get(&workspace.content(&file)).await.status, 404);
    assert_eq!(client.post(&workspace.ack(&file)).await.status, 404);
    assert_eq!(client.waiting(&workspace).await.len(), 0);
    assert_eq!(client.feed(&workspace, "type=a2a_receive").await.len(), 1);
    eventually("no byte is left", async || {
        (db_count(&url, "pending_upload_chunks").await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_acked_file_is_swept_after_its_retention_and_the_feed_says_nothing() {
    let database = migrated();
    let url = database.url();
    let server = ServerBuilder::on(&url)
        .set("ACK_RETENTION_SECS", 0)
        .set("SWEEP_INTERVAL_SECS", 1)
        .start();
    let (workspace, client) = server.workspace().await;
    let file = client.must_upload(&workspace, "a.txt", b"a").await;
    assert_eq!(client.post(&workspace.ack(&file)).await.status, 200);
    eventually("the acked file is swept", async || {
        (db_count(&url, "pending_uploads").await == 0).then_some(())
    })
    .await;
    assert_eq!(db_count(&url, "pending_upload_chunks").await, 0);
    assert_eq!(client.feed(&workspace, "").await.len(), 1);
}
