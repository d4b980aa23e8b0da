//! The sweep on PostgreSQL: large files, many workspaces, and what stands in its way.

use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::poll_immediate;
use futures_util::poll;
use pending_uploads_core::{
    ActivityLog, ActivityQuery, ByteRange, Error, FeedStart, FileId, Filename, ManualClock,
    Mimetype, NewActivity, PendingUpload, Registrar, Registration, Seq, Storage, StorageExt,
    SweepPolicy, SweepReason, Timestamp, Workspaces,
};
use pending_uploads_pg::{
    Database, DatabaseConfig, PgActivityLog, PgStorage, PgWorkspaces, StorageConfig,
};
use pg_cluster::TestDatabase;
use serde_json::Value;
use tokio_postgres::Client;

use crate::staged::BURST;
use crate::support::{self, until};

const MIB: usize = 1024 * 1024;

/// A store whose clock the test moves.
struct Sweeping {
    files: PgStorage,
    clock: Arc<ManualClock>,
    db: Client,
    database: Database,
    test_database: TestDatabase,
}

impl Sweeping {
    async fn new() -> Self {
        let test_database = support::migrated().await;
        let database = support::connect(&test_database);
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_micros(0)));
        Self {
            files: PgStorage::new(&database, StorageConfig::default(), clock.clone()),
            clock,
            db: support::db_client(&test_database).await,
            database,
            test_database,
        }
    }

    async fn publish(&self) -> PendingUpload {
        self.publish_of(b"x").await
    }

    async fn publish_of(&self, data: &[u8]) -> PendingUpload {
        let workspace = support::register(&self.database, self.clock.clone()).await;
        self.files
            .stage(
                workspace,
                Filename::sanitize("report.pdf"),
                Mimetype::absent(),
                data,
            )
            .await
            .unwrap()
    }

    /// One step, by the default policy.
    async fn sweep(&self) -> Vec<FileId> {
        let swept = self.files.sweep(&SweepPolicy::default()).await.unwrap();
        swept.files.iter().map(|file| file.file_id).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_larger_than_a_sweeps_step_is_swept_whole() {
    let it = Sweeping::new().await;
    let workspace = support::register(&it.database, it.clock.clone()).await;
    let mut batch = it.files.begin(workspace).await.unwrap();
    let name = Filename::sanitize("large.bin");
    batch.start_file(name, Mimetype::absent()).await.unwrap();
    let piece = vec![5; MIB];
    for _ in 0..130 {
        batch.write(&piece).await.unwrap();
    }
    batch.finish_file().await.unwrap();
    let published = batch.publish().await.unwrap();
    it.clock.advance(Duration::from_hours(25));

    let swept = it.files.sweep(&SweepPolicy::default()).await.unwrap();
    let sizes: Vec<_> = swept
        .files
        .iter()
        .map(|file| (file.file_id, file.size_bytes))
        .collect();
    assert_eq!(sizes, [(published[0].file_id, 130 * MIB as u64)]);
    assert!(it.sweep().await.is_empty());
    let left = it
        .db
        .query_one("SELECT count(*) FROM pending_upload_chunks", &[])
        .await
        .unwrap();
    assert_eq!(left.get::<_, i64>(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_upload_larger_than_a_sweeps_step_is_told_with_all_its_bytes() {
    let it = Sweeping::new().await;
    let workspace = support::register(&it.database, it.clock.clone()).await;
    let mut batch = it.files.begin(workspace).await.unwrap();
    let name = Filename::sanitize("large.bin");
    let file = batch.start_file(name, Mimetype::absent()).await.unwrap();
    let piece = vec![5; BURST];
    for _ in 0..700 {
        batch.write(&piece).await.unwrap();
    }
    until("all bursts are stored", async || {
        let bursts = "SELECT coalesce(max(bursts), 0) FROM staged_batches";
        it.db.query_one(bursts, &[]).await.unwrap().get::<_, i64>(0) == 700
    })
    .await;
    // As a server that was killed leaves it.
    std::mem::forget(batch);
    it.clock.advance(Duration::from_hours(2));
    let swept = it.files.sweep(&SweepPolicy::default()).await.unwrap();
    let told: Vec<_> = swept
        .files
        .iter()
        .map(|file| (file.file_id, file.reason, file.size_bytes))
        .collect();
    assert_eq!(told, [(file, SweepReason::Abandoned, 700 * BURST as u64)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_swept_is_told_also_when_something_else_could_not_be() {
    let it = Sweeping::new().await;
    let (acked, expired) = (it.publish().await, it.publish().await);
    let ack = it.files.ack(acked.workspace_id, acked.file_id);
    ack.await.unwrap();
    it.clock.advance(Duration::from_hours(25));
    it.db
        .batch_execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN RAISE 'no more rows'; END $$; \
             CREATE TRIGGER refuse BEFORE INSERT ON activity EXECUTE FUNCTION refuse()",
        )
        .await
        .unwrap();
    assert_eq!(it.sweep().await, [acked.file_id]);
    let failed = it.files.sweep(&SweepPolicy::default()).await;
    assert!(matches!(failed, Err(Error::Backend { .. })), "{failed:?}");
    it.db
        .batch_execute("DROP TRIGGER refuse ON activity")
        .await
        .unwrap();
    assert_eq!(it.sweep().await, [expired.file_id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_passes_by_a_feed_that_a_callers_transaction_holds() {
    let it = Sweeping::new().await;
    let held = it.publish().await;
    let acked = it.publish().await;
    it.files
        .ack(acked.workspace_id, acked.file_id)
        .await
        .unwrap();
    let expired = it.publish().await;
    it.clock.advance(Duration::from_hours(25));
    it.db
        .batch_execute(&format!(
            "BEGIN; UPDATE feed_counters SET last_seq = last_seq WHERE workspace_id = '{}'",
            held.workspace_id
        ))
        .await
        .unwrap();

    assert_eq!(it.sweep().await, [acked.file_id, expired.file_id]);
    it.db.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(it.sweep().await, [held.file_id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_is_held_keeps_nobody_elses_files_from_being_swept() {
    let it = Sweeping::new().await;
    let held = support::register(&it.database, it.clock.clone()).await;
    let mut batch = it.files.begin(held).await.unwrap();
    // More than a step takes, and all of them expire before the other workspace's.
    for _ in 0..101 {
        let name = Filename::sanitize("report.pdf");
        batch.start_file(name, Mimetype::absent()).await.unwrap();
        batch.write(b"x").await.unwrap();
        batch.finish_file().await.unwrap();
    }
    let files = batch.publish().await.unwrap();
    it.clock.advance(Duration::from_secs(1));
    let other = it.publish().await;
    it.clock.advance(Duration::from_hours(25));
    it.db
        .batch_execute(&format!(
            "BEGIN; UPDATE feed_counters SET last_seq = last_seq WHERE workspace_id = '{held}'"
        ))
        .await
        .unwrap();
    assert_eq!(it.sweep().await, [other.file_id]);
    assert_eq!(
        it.sweep().await,
        [],
        "a feed that stays held is not waited for without end"
    );

    // One that is held for a moment is waited for.
    let holding = it.db.batch_execute("SELECT pg_sleep(0.2); COMMIT");
    let (swept, released) = tokio::join!(it.sweep(), holding);
    released.unwrap();
    assert_eq!(swept.len(), 100);
    assert_eq!(it.sweep().await.len(), files.len() - 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn acked_files_of_many_workspaces_are_swept_together() {
    let it = Sweeping::new().await;
    let mut acked = Vec::new();
    for _ in 0..20 {
        let upload = it.publish().await;
        it.files
            .ack(upload.workspace_id, upload.file_id)
            .await
            .unwrap();
        acked.push(upload.file_id);
    }
    it.clock.advance(Duration::from_hours(2));
    let mut swept = it.sweep().await;
    swept.sort();
    assert_eq!(swept, acked);
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_files_of_many_workspaces_are_swept_together() {
    let it = Sweeping::new().await;
    let mut expired = Vec::new();
    for _ in 0..20 {
        expired.push(it.publish().await);
    }
    it.clock.advance(Duration::from_hours(25));
    let mut swept = it.sweep().await;
    swept.sort();
    let ids: Vec<_> = expired.iter().map(|upload| upload.file_id).collect();
    assert_eq!(swept, ids);
    let feed = PgActivityLog::new(&it.database, it.clock.clone());
    for upload in expired {
        let newest = ActivityQuery::from_start(FeedStart::Newest);
        let rows = feed.list(upload.workspace_id, &newest).await.unwrap();
        let seqs: Vec<_> = rows.iter().map(|row| row.seq.0).collect();
        assert_eq!(seqs, [2, 1]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_name_does_not_keep_a_file_for_ever() {
    let it = Sweeping::new().await;
    let damaged = it.publish().await;
    it.db
        .batch_execute("UPDATE pending_uploads SET filename = 'not / safe'")
        .await
        .unwrap();
    it.clock.advance(Duration::from_hours(25));
    assert_eq!(it.sweep().await, [damaged.file_id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_that_was_deleted_and_registers_again_goes_on_in_its_old_feed() {
    let it = Sweeping::new().await;
    let old = it.publish().await;
    it.db.batch_execute("DELETE FROM workspaces").await.unwrap();
    PgWorkspaces::new(&it.database, it.clock.clone())
        .register(
            Registration::polling(old.workspace_id),
            Registrar::Anonymous,
        )
        .await
        .unwrap();
    let feed = PgActivityLog::new(&it.database, it.clock.clone());
    let message = NewActivity::message(old.workspace_id, "message/send", Value::Null);
    let appended = feed.append(old.workspace_id, message).await.unwrap();
    assert_eq!(appended.seq, Seq(2));
    // What it had left expires, is said in the feed, and is swept.
    it.clock.advance(StorageConfig::default().ttl);
    assert_eq!(it.sweep().await, [old.file_id]);
    let query = ActivityQuery::from_start(FeedStart::Oldest);
    let rows = feed.list(old.workspace_id, &query).await.unwrap();
    assert_eq!(
        rows.iter().map(|row| row.seq).collect::<Vec<_>>(),
        [1, 2, 3].map(Seq)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_expires_while_a_connection_is_waited_for_is_not_handed_over() {
    let mut it = Sweeping::new().await;
    let upload = it.publish_of(&vec![1; MIB]).await;
    let config = DatabaseConfig::parse(&it.test_database.url())
        .unwrap()
        .with_pool_size(NonZeroUsize::MIN);
    let database = Database::connect(&config).unwrap();
    let files = PgStorage::new(&database, StorageConfig::default(), it.clock.clone());
    let read = async || {
        let range = ByteRange::new(0, upload.size_bytes).unwrap();
        let (workspace, file) = (upload.workspace_id, upload.file_id);
        files.read(workspace, file, range).await.map(drop)
    };
    // The statement is prepared, which waits for the lock, too.
    read().await.unwrap();
    let lock = it.db.transaction().await.unwrap();
    let exclusively = "LOCK TABLE pending_uploads IN ACCESS EXCLUSIVE MODE";
    lock.batch_execute(exclusively).await.unwrap();
    let mut first = pin!(read());
    assert!(poll!(&mut first).is_pending());
    let looker = support::db_client(&it.test_database).await;
    until("the only connection is busy", async || {
        poll_immediate(&mut first).await.is_none()
            && support::db_who_wait_for_locks(&looker).await == 1
    })
    .await;
    let mut second = pin!(read());
    assert!(poll!(&mut second).is_pending());
    it.clock.advance(StorageConfig::default().ttl);
    lock.commit().await.unwrap();
    first.await.unwrap();
    let expired = second.await;
    assert!(matches!(expired, Err(Error::NotFound)), "{expired:?}");
}
