//! What nobody was promised may be forgotten by a crash of the database, and then is not half there:
//! bursts of a batch, which are committed without waiting for the disk.
//!
//! What a crash does, which is to forget the newest commits, is done by hand here.

use std::sync::Arc;

use pending_uploads_core::{
    ActivityLog, ActivityQuery, Batch, Error, FeedStart, Filename, Mimetype, Result, Storage,
    SystemClock,
};
use pending_uploads_pg::{PgStorage, StorageConfig};

use crate::staged::{BURST, Staged, publish};
use crate::support::{self, until};

impl Staged {
    /// Forgets the second burst.
    async fn db_forget_one(&self) {
        self.db
            .batch_execute(
                "UPDATE staged_batches SET bursts = 1; \
                 DELETE FROM pending_upload_chunks WHERE seq >= 24",
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

/// Goes on until a burst finds out.
async fn go_on(mut batch: Box<dyn Batch>) -> Result<()> {
    let mut tries = 0..10;
    while tries.next().is_some() {
        batch.write(&vec![8; BURST]).await?;
    }
    panic!("no burst has found out");
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
