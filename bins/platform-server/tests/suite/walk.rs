//! The way of a file, from the person's page to the workspace's disk.

use serde_json::{Value, json};

use server_harness::text;
use server_harness::{Form, Part, Store, bytes, eventually, on_each_store, sha256};

on_each_store! {
    a_file_goes_from_the_page_to_the_workspace,
    the_files_of_a_request_keep_their_order_and_other_fields_are_skipped,
    ranges_and_conditions_are_honoured,
    a_message_for_a_polling_workspace_becomes_a_row,
    limits_and_health_are_public,
    registering_again_needs_the_token_and_keeps_it,
}

async fn a_file_goes_from_the_page_to_the_workspace(store: Store) {
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    let data = bytes(1, 300_000);

    let form =
        Form::of([Part::file("my report.pdf", &*data).header("Content-Type", "application/pdf")]);
    let uploaded = client.upload(&workspace, &form).await;
    assert_eq!(uploaded.status, 200, "{uploaded:?}");
    let file_id = uploaded.file_ids().remove(0);
    let uri = format!("platform-pending:{}/{file_id}", workspace.id);
    let file = json!({
        "uri": uri, "name": "my_report.pdf", "originalName": "my report.pdf",
        "mimeType": "application/pdf", "size": 300_000, "sha256": sha256(&data),
    });
    assert_eq!(uploaded.json(), json!({"files": [file]}));

    let feed = client.feed(&workspace, "type=a2a_receive").await;
    assert_eq!(feed.len(), 1);
    assert_announces(&feed[0], &workspace.id, &file_id, &file);

    let waiting = client.waiting(&workspace).await;
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0]["file_id"], json!(file_id));
    assert_eq!(waiting[0]["sha256"], file["sha256"]);

    let content = client.get(&workspace.content(&file_id)).await;
    assert_eq!(content.status, 200);
    assert!(content.body == data, "other bytes came back");
    assert_eq!(content.header("content-type"), "application/pdf");
    assert_eq!(content.header("content-length"), "300000");
    assert!(
        content
            .header("content-disposition")
            .contains("filename=\"my_report.pdf\"")
    );
    assert_eq!(content.header("x-content-type-options"), "nosniff");
    assert_eq!(
        content.header("content-security-policy"),
        "sandbox; default-src 'none'"
    );
    assert_eq!(content.header("cache-control"), "private, no-store");
    assert!(!content.header("repr-digest").is_empty());
    eventually("fetched_at is stamped", async || {
        let waiting = client.waiting(&workspace).await;
        waiting[0]["fetched_at"].is_string().then_some(())
    })
    .await;

    let ack = json!({"sha256": sha256(&data)});
    for _ in 0..2 {
        let acked = client.post_json(&workspace.ack(&file_id), &ack).await;
        assert_eq!((acked.status, acked.json()), (200, json!({"acked": true})));
    }
    assert_eq!(client.get(&workspace.content(&file_id)).await.status, 404);
    assert_eq!(client.waiting(&workspace).await, [] as [Value; 0]);
}

fn assert_announces(row: &Value, workspace: &str, file_id: &str, file: &Value) {
    assert_eq!(row["activity_type"], "a2a_receive");
    assert_eq!(row["method"], "chat_upload_receive");
    assert_eq!(row["source_id"], Value::Null);
    assert_eq!(row["target_id"], workspace);
    assert_eq!(row["workspace_id"], workspace);
    assert_eq!(row["summary"], "chat_upload_receive: my_report.pdf");
    assert_eq!(row["status"], "ok");
    assert_eq!(row["seq"], 1);
    let mut body = file.clone();
    body["file_id"] = json!(file_id);
    assert_eq!(row["request_body"], body);
}

async fn the_files_of_a_request_keep_their_order_and_other_fields_are_skipped(store: Store) {
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    let form = Form::of([
        Part::named("note", "ignored.txt", "not a file of ours"),
        Part::file("b.txt", "second letter").header("Content-Length", "13"),
        Part::file("../../a.txt", "first letter").header("Content-Type", "text/plain; charset=x"),
        Part::file("c.txt", "third letter").header("Content-Type", "nonsense"),
    ]);
    let answer = client.upload(&workspace, &form).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let json = answer.json();
    let files = json["files"].as_array().unwrap();
    let named: Vec<_> = files
        .iter()
        .map(|file| (text(file, "name"), text(file, "mimeType")))
        .collect();
    let expected = [
        ("b.txt", ""),
        ("a.txt", "text/plain"),
        ("c.txt", "application/octet-stream"),
    ];
    assert_eq!(
        named,
        expected.map(|(name, kind)| (name.to_owned(), kind.to_owned()))
    );
    let first = client.feed(&workspace, "").await.pop().unwrap();
    let rest = client
        .feed(&workspace, &format!("since_id={}", text(&first, "id")))
        .await;
    let later: Vec<_> = rest
        .iter()
        .map(|row| text(&row["request_body"], "name"))
        .collect();
    assert_eq!(later, ["a.txt", "c.txt"]);
}

async fn ranges_and_conditions_are_honoured(store: Store) {
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    let data = bytes(2, 3 * 1024 * 1024 + 17);
    let file_id = client.must_upload(&workspace, "big.bin", &data).await;
    let path = workspace.content(&file_id);
    let length = data.len();

    for (range, start, end) in [
        ("bytes=0-0", 0, 1),
        ("bytes=65535-65536", 65_535, 65_537),
        ("bytes=1048000-2200000", 1_048_000, 2_200_001),
        ("bytes=-17", length - 17, length),
        ("bytes=3145728-", 3_145_728, length),
        ("bytes=3145728-999999999", 3_145_728, length),
    ] {
        let part = client.get_with(&path, "range", range).await;
        assert_eq!(part.status, 206, "{range} {part:?}");
        assert!(part.body == data[start..end], "{range}: other bytes");
        let expected = format!("bytes {start}-{}/{length}", end - 1);
        assert_eq!(part.header("content-range"), expected);
    }
    let beyond = client.get_with(&path, "range", "bytes=99999999-").await;
    assert_eq!(beyond.status, 416);
    assert_eq!(beyond.header("content-range"), format!("bytes */{length}"));

    let whole = client.get(&path).await;
    let etag = whole.header("etag");
    assert!(etag.contains(&sha256(&data)), "{etag}");
    assert_eq!(whole.header("accept-ranges"), "bytes");
    assert_eq!(
        client.get_with(&path, "if-none-match", etag).await.status,
        304
    );
    assert_eq!(
        client
            .get_with(&path, "if-none-match", "\"other\"")
            .await
            .status,
        200
    );

    let resumed = client.request(reqwest::Method::GET, &path);
    let resumed = resumed
        .header("range", "bytes=5-")
        .header("if-range", "\"other\"");
    assert_eq!(resumed.send().await.unwrap().status(), 200);

    let head = client
        .request(reqwest::Method::HEAD, &path)
        .send()
        .await
        .unwrap();
    assert_eq!(head.status(), 200);
    assert_eq!(head.headers()["content-length"], length.to_string());
}

async fn a_message_for_a_polling_workspace_becomes_a_row(store: Store) {
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    let message = json!({
        "jsonrpc": "2.0", "id": "1", "method": "message/send",
        "params": {"message": {"role": "user", "messageId": "m1",
            "parts": [{"type": "text", "text": "hello"}]}},
    });
    let queued = client.post_json(&workspace.path("a2a"), &message).await;
    let expected = json!({"status": "queued", "delivery_mode": "poll", "method": "message/send"});
    assert_eq!((queued.status, queued.json()), (200, expected));

    let row = client
        .feed(&workspace, "type=a2a_receive&source=canvas")
        .await
        .remove(0);
    assert_eq!(row["method"], "message/send");
    let part = &row["request_body"].to_string();
    assert!(
        part.contains(r#""kind":"text""#) && !part.contains(r#""type":"text""#),
        "{part}"
    );
}

async fn limits_and_health_are_public(store: Store) {
    let server = store.server().set("MAX_FILE_BYTES", 1000).start();
    let client = server.anonymous();
    let limits = client.get("/uploads/limits").await;
    assert_eq!(
        limits.json(),
        json!({"per_file_bytes": 1000, "per_request_bytes": 1_049_576,
            "max_attachments_per_message": 64})
    );
    assert_eq!(client.get("/healthz").await.status, 200);
    assert_eq!(client.get("/readyz").await.status, 200);
    assert!(
        client
            .get("/metrics")
            .await
            .header("content-type")
            .starts_with("text/plain")
    );
}

async fn registering_again_needs_the_token_and_keeps_it(store: Store) {
    let server = store.server().with_admin().start();
    let (workspace, client) = server.workspace().await;
    let body = json!({"id": workspace.id, "agent_card": {"name": "again"}});
    assert_eq!(
        server
            .anonymous()
            .post_json("/registry/register", &body)
            .await
            .status,
        401
    );
    for registrar in [&client, &server.admin()] {
        let answer = registrar.post_json("/registry/register", &body).await;
        let expected = json!({"status": "registered", "delivery_mode": "poll"});
        assert_eq!((answer.status, answer.json()), (200, expected));
    }
    assert_eq!(client.get(&workspace.path("activity")).await.status, 200);
}
