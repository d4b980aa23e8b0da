//! The death of PostgreSQL under a server that goes on.

use std::sync::Arc;

use pg_cluster::{Cluster, ClusterOptions, Durability};

use server_harness::database::{db_count, migrate};
use server_harness::{Answer, Client, Ledger, ServerBuilder, bytes, eventually};

const MIB: usize = 1024 * 1024;
const UPLOADERS: u64 = 4;
/// What is taken before the end.
const TAKEN: usize = 20;

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
    let ledger = Arc::new(Ledger::begin(&client, &workspace).await);
    let uploaders: Vec<_> = (0..UPLOADERS)
        .map(|number| {
            let (client, ledger) = (client.clone(), Arc::clone(&ledger));
            tokio::spawn(upload_until_refused(client, ledger, number))
        })
        .collect();
    eventually("some files are taken", async || {
        (ledger.taken() >= TAKEN).then_some(())
    })
    .await;

    cluster.kill().unwrap();
    for uploader in uploaders {
        let refused = uploader.await.unwrap();
        assert_unavailable(&refused);
        assert!(!refused.header("retry-after").is_empty());
    }
    assert_eq!(server.anonymous().get("/readyz").await.status, 503);
    assert_eq!(server.anonymous().get("/healthz").await.status, 200);
    assert_unavailable(&client.get(&workspace.path("activity")).await);

    cluster.restart().unwrap();
    eventually("the server serves again", async || {
        let answer = ledger.upload(&client, [bytes(1, 10)]).await.unwrap();
        (answer.status == 200).then_some(())
    })
    .await;
    assert_eq!(server.anonymous().get("/readyz").await.status, 200);
    ledger.check(&client).await;
    eventually("only published bytes are left", async || {
        let orphans = "pending_upload_chunks WHERE file_id NOT IN \
             (SELECT file_id FROM pending_uploads)";
        (db_count(&url, orphans).await == 0).then_some(())
    })
    .await;
    drop(server);
}

fn assert_unavailable(answer: &Answer) {
    let found = (answer.status, answer.code());
    assert_eq!(
        found,
        (503, "platform_unavailable".to_owned()),
        "{answer:?}"
    );
}

/// Uploads small and large files in turns until one is refused, and answers that refusal.
async fn upload_until_refused(client: Client, ledger: Arc<Ledger>, number: u64) -> Answer {
    let mut round = 0;
    loop {
        let seed = 1_000_000 + number * 10_000 + round;
        let length = if round % 2 == 0 { 2 * MIB + 1 } else { 1000 };
        let answer = ledger.upload(&client, [bytes(seed, length)]).await.unwrap();
        if answer.status != 200 {
            return answer;
        }
        round += 1;
    }
}
