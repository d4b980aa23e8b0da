//! Files that nobody came for.

use server_harness::text;
use server_harness::{Store, eventually, on_each_store};

on_each_store! {
    a_file_that_expired_is_gone_and_the_feed_says_so,
    an_acked_file_is_swept_after_its_retention_and_the_feed_says_nothing,
}

async fn a_file_that_expired_is_gone_and_the_feed_says_so(store: Store) {
    let server = store
        .server()
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
    store.wait_until_it_holds_no_file().await;
}

async fn an_acked_file_is_swept_after_its_retention_and_the_feed_says_nothing(store: Store) {
    let server = store
        .server()
        .set("ACK_RETENTION_SECS", 0)
        .set("SWEEP_INTERVAL_SECS", 1)
        .start();
    let (workspace, client) = server.workspace().await;
    let file = client.must_upload(&workspace, "a.txt", b"a").await;
    assert_eq!(client.post(&workspace.ack(&file)).await.status, 200);
    eventually("the acked file is swept", async || {
        (store.recorded_files().await == 0).then_some(())
    })
    .await;
    store.wait_until_it_holds_no_file().await;
    assert_eq!(client.feed(&workspace, "").await.len(), 1);
}
