//! What an operator sees: log lines and metrics.

use serde_json::json;
use server_harness::{Form, Server, Store, eventually, on_each_store, remember_secret};
use uuid::Uuid;

on_each_store! {
    each_step_of_a_file_is_one_line_and_one_count,
    no_secret_is_logged_however_much_is_logged,
}

/// Waits for a log line that begins with an event's word and holds all of `fields`.
async fn line_with(server: &Server, event: &str, fields: &[String]) -> String {
    eventually(
        &format!("a line says {event} with {fields:?}"),
        async || {
            let log = server.log();
            let line = log.lines().find(|line| {
                line.contains(&format!("] {event} "))
                    && fields.iter().all(|field| line.contains(field))
            });
            line.map(str::to_owned)
        },
    )
    .await
}

async fn each_step_of_a_file_is_one_line_and_one_count(store: Store) {
    let server = store
        .server()
        .set("ACK_RETENTION_SECS", 0)
        .set("SWEEP_INTERVAL_SECS", 1)
        .start();
    let (workspace, client) = server.workspace().await;
    let content = "what is written in the file itself";
    let file = client
        .must_upload(&workspace, "a b.txt", content.as_bytes())
        .await;
    client.get(&workspace.content(&file)).await;
    client.post(&workspace.ack(&file)).await;
    client
        .upload(&workspace, &Form::of_file("empty.txt", ""))
        .await;

    let about = [
        format!("workspace_id={}", workspace.id),
        format!("file_id={file}"),
        format!("size_bytes={}", content.len()),
        "filename=a_b.txt".to_owned(),
        "duration_ms=".to_owned(),
    ];
    for event in ["staged", "fetched", "acked", "swept"] {
        line_with(&server, event, &about).await;
        let count = match event {
            "swept" => "pending_uploads_swept_total{reason=\"acked\"}".to_owned(),
            _ => format!("pending_uploads_{event}_total"),
        };
        assert!(
            (server.metric(&count).await - 1.0).abs() < f64::EPSILON,
            "{count}"
        );
        let bytes = count.replace("_total", "_bytes_total");
        let expected = f64::from(u32::try_from(content.len()).unwrap());
        assert!(
            (server.metric(&bytes).await - expected).abs() < f64::EPSILON,
            "{bytes}"
        );
    }
    let rejected = [
        "code=empty_file".to_owned(),
        "filename=empty.txt".to_owned(),
    ];
    line_with(&server, "rejected", &rejected).await;
    assert!(!server.log().contains(content), "content is in the log");
    assert_eq!(server.log().matches("] staged ").count(), 1);
}

async fn no_secret_is_logged_however_much_is_logged(store: Store) {
    let server = store
        .server()
        .with_admin()
        .set("RUST_LOG", "trace")
        .set("ALLOW_PRIVATE_CALLBACKS", true)
        .start();
    let (workspace, client) = server.workspace().await;
    let push = json!({
        "id": Uuid::new_v4().to_string(),
        "delivery_mode": "push",
        "url": "http://127.0.0.1:9/",
        "agent_card": {"name": "an agent"},
    });
    let registered = server.admin().post_json("/registry/register", &push).await;
    registered.secret("platform_inbound_secret");
    registered.secret("auth_token");
    // As text, and as the bytes of a value are shown.
    let content = "words that are in no log".repeat(20_000);
    let first = content.as_bytes()[..8].iter().map(u8::to_string);
    remember_secret("words that are in no log");
    remember_secret(&first.collect::<Vec<_>>().join(", "));
    let file = client
        .must_upload(&workspace, "a.txt", content.as_bytes())
        .await;
    client.get(&workspace.content(&file)).await;
    server.admin().get(&workspace.path("activity")).await;
    client.post(&workspace.ack(&file)).await;
    // Dropping the server looks for every token in its log.
    drop(server);
}
