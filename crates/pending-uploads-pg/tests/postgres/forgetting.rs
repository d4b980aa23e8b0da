//! What nobody was promised may be forgotten by a crash of the database, and then is not half there:
//! bursts of a batch, which are committed without waiting for the disk.
//!
//! What a crash does, which is to forget the newest commits, is done by hand here.

use std::sync::Arc;

use pending_uploads_core::{
    ActivityLog, ActivityQuery, Batch, Error, FeedStart, Filename, Mimetype, Result, Storage,
    SystemClock, WorkspaceId,
};
use pending_uploads_pg::{PgActivityLog, PgStorage, StorageConfig};
use pg_cluster::TestDatabase;
use tokio_postgres::Client;

use crate::support::{self, until};

const BURST: usize = 192 * 1024;

/// Where a batch has stored two bursts.
struct Staged {
    files: PgStorage,
    feed: PgActivityLog,
    workspace: WorkspaceId,
    db: Client,
    _test_database: TestDatabase,
}

impl Staged {
    /// The batch has its file open.
    async fn two_bursts() -> (Self, Box<dyn Batch>) {
        let test_database = support::migrated().await;
        let db = support::db_client(&test_database).await;
        let database = support::connect(&test_database);
        let clock = Arc::new(SystemClock);
        let workspace = support::register(&database, clock.clone()).await;
        let files = PgStorage::new(&database, StorageConfig::default(), clock.clone());
        let mut batch = files.begin(workspace).await.unwrap();
        let name = Filename::sanitize("report.pdf");
        batch.start_file(name, Mimetype::absent()).await.unwrap();
        batch.write(&vec![7; 2 * BURST]).await.unwrap();
        let it = Self {
            files,
            feed: PgActivityLog::new(&database, clock),
            workspace,
            db,
            _test_database: test_database,
        };
        until("two bursts are stored", async || {
            it.db_number("SELECT coalesce(max(bursts), 0) FROM staged_batches")
                .await
                == 2
        })
        .await;
        (it, batch)
    }

    async fn db_number(&self, sql: &str) -> i64 {
        self.db.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// Forgets the second burst.
    async fn db_forget_one(&self) {
        self.db
            .batch_execute(
                "UPDATE staged_batches SET bursts = 1; \
                 DELETE FROM pending_upload_chunks WHERE seq >= 3",
            )
            .await
            .unwrap();
    }

    /// Forgets both.
    async fn db_forget_all(&self) {
        self.db
            .batch_execute("DELETE FROM staged_batches; DELETE FROM pending_upload_chunks")
            .await
            .unwrap();
    }

    /// Asserts that the batch failed for what the store has done, and that nothing is left of it.
    async fn has_failed(self, outcome: Result<()>) {
        assert!(
            matches!(outcome, Err(Error::Unavailable { .. })),
            "{outcome:?}"
        );
        let waiting = self.files.list(self.workspace, None, 10).await.unwrap();
        assert_eq!(waiting, []);
        let feed = ActivityQuery::from_start(FeedStart::Newest);
        let rows = self.feed.list(self.workspace, &feed).await.unwrap();
        assert_eq!(rows, []);
        until("its bytes are gone", async || {
            let left = "SELECT (SELECT count(*) FROM staged_batches) \
                 + (SELECT count(*) FROM pending_upload_chunks)";
            self.db_number(left).await == 0
        })
        .await;
    }
}

async fn publish(mut batch: Box<dyn Batch>) -> Result<()> {
    batch.finish_file().await?;
    batch.publish().await.map(drop)
}

/// Another burst, and as much again, before which it has arrived.
async fn go_on(mut batch: Box<dyn Batch>) -> Result<()> {
    batch.write(&vec![8; 2 * BURST]).await?;
    publish(batch).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_finds_out_that_a_burst_was_forgotten() {
    let (it, batch) = Staged::two_bursts().await;
    it.db_forget_one().await;
    let outcome = publish(batch).await;
    it.has_failed(outcome).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_finds_out_that_the_whole_batch_was_forgotten() {
    let (it, batch) = Staged::two_bursts().await;
    it.db_forget_all().await;
    let outcome = publish(batch).await;
    it.has_failed(outcome).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_burst_finds_out_that_the_one_before_was_forgotten() {
    let (it, batch) = Staged::two_bursts().await;
    it.db_forget_one().await;
    let outcome = go_on(batch).await;
    it.has_failed(outcome).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_burst_finds_out_that_the_whole_batch_was_forgotten() {
    let (it, batch) = Staged::two_bursts().await;
    it.db_forget_all().await;
    let outcome = go_on(batch).await;
    it.has_failed(outcome).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_waits_for_no_disk_and_the_publish_after_it_does() {
    let test_database = support::migrated().await;
    let db = support::db_client(&test_database).await;
    // A trigger is how a statement's own view of the setting can be seen from outside.
    db.batch_execute(
        "CREATE TABLE seen (no bigserial, what text, setting text); \
         CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             INSERT INTO seen (what, setting) \
             VALUES (TG_TABLE_NAME || ' ' || TG_OP, current_setting('synchronous_commit')); \
             RETURN NULL; END $$; \
         CREATE TRIGGER see AFTER INSERT OR UPDATE OR DELETE ON staged_batches \
             FOR EACH ROW EXECUTE FUNCTION see(); \
         CREATE TRIGGER see AFTER INSERT ON pending_uploads \
             FOR EACH ROW EXECUTE FUNCTION see()",
    )
    .await
    .unwrap();
    let database = support::connect(&test_database);
    let clock = Arc::new(SystemClock);
    let workspace = support::register(&database, clock.clone()).await;
    let files = PgStorage::new(&database, StorageConfig::default(), clock);
    let mut batch = files.begin(workspace).await.unwrap();
    let name = Filename::sanitize("report.pdf");
    batch.start_file(name, Mimetype::absent()).await.unwrap();
    batch.write(&vec![7; 2 * BURST + 1]).await.unwrap();
    publish(batch).await.unwrap();

    let rows = db.query("SELECT what, setting FROM seen ORDER BY no", &[]);
    let seen: Vec<(String, String)> = rows
        .await
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    let expected = [
        ("staged_batches INSERT", "off"),
        ("staged_batches UPDATE", "off"),
        ("pending_uploads INSERT", "on"),
        ("staged_batches DELETE", "on"),
    ];
    assert_eq!(
        seen,
        expected.map(|(what, setting)| (what.to_owned(), setting.to_owned()))
    );
}
