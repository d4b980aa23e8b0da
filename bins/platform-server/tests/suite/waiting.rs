//! Polling: waiting for rows across server processes, and following a cursor without a gap.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use server_harness::text;
use server_harness::{
    Client, Form, Part, RawConnection, Server, Store, Workspace, bytes, on_each_store, sha256,
};

on_each_store! {
    a_poll_is_woken_by_an_upload,
    a_poller_sees_each_file_of_six_clients_once_and_no_gap,
    a_poll_that_nothing_comes_for_ends_empty_when_its_time_is_over,
}

async fn a_poll_is_woken_by_an_upload(store: Store) {
    let server = store.server().start();
    wake_a_poll(&server, &server).await;
}

#[tokio::test]
async fn a_poll_on_one_server_is_woken_by_an_upload_through_another() {
    let store = Store::postgres();
    wake_a_poll(&store.server().start(), &store.server().start()).await;
}

/// Lets a workspace poll one server again and again, and uploads through the other meanwhile.
async fn wake_a_poll(one: &Server, other: &Server) {
    let (workspace, client) = one.workspace().await;
    client.must_upload(&workspace, "first.txt", b"first").await;
    let mut cursor = text(&client.feed(&workspace, "").await[0], "id");

    for _ in 0..5 {
        let started = Instant::now();
        let path = workspace.path(&format!("activity?since_id={cursor}&wait=60"));
        let mut poll = RawConnection::begin_get(one, &workspace, &path).await;
        poll.wait_until_read().await;
        let file = other
            .client(&workspace)
            .must_upload(&workspace, "next.txt", b"next")
            .await;
        assert!(poll.read_head().await.starts_with("HTTP/1.1 200"));
        let rows: Vec<Value> = serde_json::from_slice(&poll.read_to_end().await).unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0]["request_body"]["file_id"], file.as_str());
        assert!(
            started.elapsed() < Duration::from_secs(50),
            "it was not woken"
        );
        cursor = text(&rows[0], "id");
    }
}

async fn a_poll_that_nothing_comes_for_ends_empty_when_its_time_is_over(store: Store) {
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    client.must_upload(&workspace, "a.txt", b"a").await;
    let cursor = text(&client.feed(&workspace, "").await[0], "id");
    let started = Instant::now();
    assert_eq!(
        server.wait_for_rows(&workspace, &cursor, 1).await,
        [] as [Value; 0]
    );
    assert!(started.elapsed() >= Duration::from_secs(1));

    let path = workspace.path(&format!("activity?since_id={cursor}"));
    let preferred = client.get_with(&path, "prefer", "wait=1").await;
    assert_eq!(preferred.header("preference-applied"), "wait=1");
    assert_eq!(preferred.array(), [] as [Value; 0]);
}

const CLIENTS: u64 = 6;
const UPLOADS_EACH: u64 = 12;

async fn a_poller_sees_each_file_of_six_clients_once_and_no_gap(store: Store) {
    let server = store.server().start();
    follow_six_clients(&server, &server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poller_of_one_server_sees_each_file_of_six_clients_of_another() {
    let store = Store::postgres();
    follow_six_clients(&store.server().start(), &store.server().start()).await;
}

/// Lets a workspace follow its feed on one server, while six clients upload through the other.
async fn follow_six_clients(polled: &Server, loaded: &Server) {
    let (workspace, client) = polled.workspace().await;
    client.must_upload(&workspace, "start.txt", b"start").await;
    let start = client.feed(&workspace, "").await.remove(0);

    let uploaders: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let client = loaded.client(&workspace);
            tokio::spawn(upload_many(client, workspace.clone(), number))
        })
        .collect();
    let expected = usize::try_from(CLIENTS * UPLOADS_EACH * 3 / 2).unwrap();
    let rows = follow(polled, &workspace, &start, expected).await;

    let mut sent = BTreeMap::new();
    for uploader in uploaders {
        sent.append(&mut uploader.await.unwrap());
    }
    assert_eq!(rows.len(), expected);
    let seqs: Vec<_> = rows
        .iter()
        .map(|row| row["seq"].as_i64().unwrap())
        .collect();
    let first = start["seq"].as_i64().unwrap() + 1;
    assert_eq!(seqs, (first..).take(expected).collect::<Vec<_>>());
    let seen: BTreeMap<_, _> = rows
        .iter()
        .map(|row| &row["request_body"])
        .map(|file| (text(file, "file_id"), text(file, "sha256")))
        .collect();
    assert_eq!(seen, sent);
}

/// Uploads small and large requests in turns, every other one with two files, and answers the
/// digest of each file by its id.
async fn upload_many(
    client: Client,
    workspace: Workspace,
    number: u64,
) -> BTreeMap<String, String> {
    let mut sent = BTreeMap::new();
    for round in 0..UPLOADS_EACH {
        let seed = number * 1000 + round;
        let length = if round % 3 == 0 {
            1_500_000 + usize::try_from(seed).unwrap()
        } else {
            700
        };
        let files: Vec<_> = (0..=round % 2)
            .map(|part| bytes(seed * 2 + part, length))
            .collect();
        let form = Form::of(files.iter().map(|data| Part::file("a.bin", &**data)));
        let answer = client.upload(&workspace, &form).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        sent.extend(
            answer
                .file_ids()
                .into_iter()
                .zip(files.iter().map(|data| sha256(data))),
        );
    }
    sent
}

/// Follows the feed from `start` until it has seen that many rows, waiting for more each time.
async fn follow(
    server: &Server,
    workspace: &Workspace,
    start: &Value,
    expected: usize,
) -> Vec<Value> {
    let mut rows: Vec<Value> = Vec::new();
    while rows.len() < expected {
        let cursor = text(rows.last().unwrap_or(start), "id");
        let new = server.wait_for_rows(workspace, &cursor, 30).await;
        assert!(
            !new.is_empty(),
            "nothing came for half a minute after {} rows",
            rows.len()
        );
        rows.extend(new);
    }
    rows
}
