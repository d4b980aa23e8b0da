//! Crashes: of the server, of PostgreSQL, of clients.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use pg_cluster::{Cluster, ClusterOptions, Durability};
use serde_json::Value;

use crate::support::client::text;
use crate::support::database::{db_count, migrate, migrated};
use crate::support::{
    Answer, Client, Form, Part, RawConnection, Server, ServerBuilder, Workspace, bytes, eventually,
    sha256,
};

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn what_was_answered_with_200_survives_the_servers_death() {
    let database = migrated();
    let url = database.url();
    for (seed, length) in [(10, 10), (11, 5 * MIB)] {
        let server = ServerBuilder::on(&url).start();
        let (workspace, client) = server.workspace().await;
        let data = bytes(seed, length);
        let file = client.must_upload(&workspace, "kept.bin", &data).await;
        server.kill();

        let server = ServerBuilder::on(&url).start();
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
    url: &str,
) -> RawConnection {
    let body = form.body();
    let mut connection = RawConnection::begin_upload(server, workspace, body.len()).await;
    connection.send(&body[..body.len() - 100]).await;
    eventually("bytes are staged", async || {
        (db_count(url, "pending_upload_chunks").await > 0).then_some(())
    })
    .await;
    connection
}

async fn nothing_is_left(url: &str) {
    for table in ["staged_batches", "pending_upload_chunks", "pending_uploads"] {
        eventually(&format!("{table} is empty"), async || {
            (db_count(url, table).await == 0).then_some(())
        })
        .await;
    }
}

fn two_files() -> Form {
    Form::of([
        Part::file("1.bin", bytes(12, 3 * MIB)),
        Part::file("2.bin", bytes(13, 3 * MIB)),
    ])
}

#[tokio::test]
async fn a_server_that_dies_during_an_upload_leaves_nothing_visible_and_its_bytes_are_swept() {
    let database = migrated();
    let url = database.url();
    let server = ServerBuilder::on(&url).start();
    let (workspace, _) = server.workspace().await;
    let connection = half_upload(&server, &workspace, &two_files(), &url).await;
    server.kill();
    drop(connection);

    let server = ServerBuilder::on(&url)
        .set("IDLE_TIMEOUT_SECS", 1)
        .set("STAGING_LEASE_SECS", 2)
        .set("SWEEP_INTERVAL_SECS", 1)
        .start();
    let client = server.client(&workspace);
    assert_eq!(client.waiting(&workspace).await, [] as [Value; 0]);
    assert_eq!(client.feed(&workspace, "").await, [] as [Value; 0]);
    nothing_is_left(&url).await;
    eventually("the sweep is logged", async || {
        server.log().contains("abandoned").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_client_that_goes_away_half_way_leaves_nothing() {
    let database = migrated();
    let url = database.url();
    let server = ServerBuilder::on(&url).start();
    let (workspace, client) = server.workspace().await;
    drop(half_upload(&server, &workspace, &two_files(), &url).await);
    nothing_is_left(&url).await;
    assert_eq!(client.feed(&workspace, "").await, [] as [Value; 0]);
}

#[tokio::test]
async fn a_client_that_falls_silent_is_ended_and_leaves_nothing() {
    let database = migrated();
    let url = database.url();
    let server = ServerBuilder::on(&url).set("IDLE_TIMEOUT_SECS", 1).start();
    let (workspace, client) = server.workspace().await;
    let connection = half_upload(&server, &workspace, &two_files(), &url).await;
    let answer = String::from_utf8(connection.read_to_end().await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("idle_timeout"), "{answer}");
    nothing_is_left(&url).await;
    assert_eq!(client.feed(&workspace, "").await, [] as [Value; 0]);
}

/// What was tried and what was answered with 200: digests, and digests by file id.
#[derive(Debug, Default)]
struct Ledger {
    tried: BTreeSet<String>,
    taken: BTreeMap<String, String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_with_200_survives_the_death_of_postgres() {
    let options = ClusterOptions::default().durability(Durability::Fsync);
    let mut cluster = Cluster::start(options).unwrap();
    let url = cluster.url(&cluster.create_database().unwrap());
    migrate(&url, &[]);
    let server = ServerBuilder::on(&url)
        .set("IDLE_TIMEOUT_SECS", 1)
        .set("STAGING_LEASE_SECS", 2)
        .set("SWEEP_INTERVAL_SECS", 1)
        .start();
    let (workspace, client) = server.workspace().await;
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let uploaders: Vec<_> = (0..4)
        .map(|number| {
            let (client, workspace) = (client.clone(), workspace.clone());
            tokio::spawn(upload_until_refused(
                client,
                workspace,
                Arc::clone(&ledger),
                number,
            ))
        })
        .collect();
    eventually("some files are taken", async || {
        (ledger.lock().unwrap().taken.len() >= 20).then_some(())
    })
    .await;

    cluster.kill().unwrap();
    for uploader in uploaders {
        let refused = uploader.await.unwrap();
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (503, "platform_unavailable")
        );
        assert!(!refused.header("retry-after").is_empty());
    }
    assert_eq!(server.anonymous().get("/readyz").await.status, 503);
    assert_eq!(server.anonymous().get("/healthz").await.status, 200);
    let feed = client.get(&workspace.path("activity")).await;
    assert_eq!(
        (feed.status, feed.code().as_str()),
        (503, "platform_unavailable")
    );

    cluster.restart().unwrap();
    eventually("the server serves again", async || {
        let answer = client
            .upload(&workspace, &Form::of_file("after.txt", "after"))
            .await;
        (answer.status == 200).then_some(())
    })
    .await;
    assert_eq!(server.anonymous().get("/readyz").await.status, 200);
    let ledger = Arc::into_inner(ledger).unwrap().into_inner().unwrap();
    assert_all_or_nothing(&client, &workspace, &ledger).await;
    eventually("only published bytes are left", async || {
        let orphans = "pending_upload_chunks WHERE file_id NOT IN \
             (SELECT file_id FROM pending_uploads)";
        (db_count(&url, orphans).await == 0).then_some(())
    })
    .await;
    drop(server);
}

/// Uploads small and large files in turns until one is refused, and answers that refusal.
async fn upload_until_refused(
    client: Client,
    workspace: Workspace,
    ledger: Arc<Mutex<Ledger>>,
    number: u64,
) -> Answer {
    let mut round = 0;
    loop {
        let seed = 1_000_000 + number * 10_000 + round;
        let length = if round % 2 == 0 { 2 * MIB + 1 } else { 1000 };
        let data = bytes(seed, length);
        let digest = sha256(&data);
        ledger.lock().unwrap().tried.insert(digest.clone());
        let answer = client
            .upload(&workspace, &Form::of_file("a.bin", data))
            .await;
        if answer.status != 200 {
            return answer;
        }
        let id = answer.file_ids().remove(0);
        ledger.lock().unwrap().taken.insert(id, digest);
        round += 1;
    }
}

/// Every file that was taken is there; whatever else is there is a whole file that was tried, whose
/// answer alone was lost; and the feed announces exactly what is there, without a gap.
async fn assert_all_or_nothing(client: &Client, workspace: &Workspace, ledger: &Ledger) {
    let waiting = client.waiting(workspace).await;
    let digests: BTreeMap<_, _> = waiting
        .iter()
        .map(|file| (text(file, "file_id"), text(file, "sha256")))
        .collect();
    for (id, digest) in &ledger.taken {
        assert_eq!(
            digests.get(id),
            Some(digest),
            "a file that was taken is lost"
        );
    }
    let after = sha256(b"after");
    for (id, digest) in &digests {
        assert!(
            ledger.tried.contains(digest) || *digest == after,
            "nobody sent {id}"
        );
        let content = client.get(&workspace.content(id)).await;
        assert_eq!(sha256(&content.body), *digest, "{id} is damaged");
    }
    let mut rows = client.feed(workspace, "limit=500").await;
    rows.reverse();
    let seqs: Vec<_> = rows
        .iter()
        .map(|row| row["seq"].as_i64().unwrap())
        .collect();
    assert_eq!(seqs, (1..).take(rows.len()).collect::<Vec<_>>());
    let announced: BTreeSet<_> = rows
        .iter()
        .map(|row| text(&row["request_body"], "file_id"))
        .collect();
    assert_eq!(announced, digests.into_keys().collect());
}
