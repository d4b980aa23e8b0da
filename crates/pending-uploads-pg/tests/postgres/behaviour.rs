//! What the contract leaves to PostgreSQL: a caller's own transaction, lost connections, what lies
//! in the tables, and which of them a look-up touches.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use pending_uploads_core::{
    ActivityLog, ActivityQuery, Batch, Error, FeedStart, Filename, Mimetype, NewActivity, Storage,
    StorageExt, SystemClock, Timestamp, WorkspaceId,
};
use pending_uploads_pg::{Database, DatabaseConfig, PgActivityLog, PgStorage, StorageConfig};
use pg_cluster::TestDatabase;
use tokio_postgres::Client;

use crate::support::{self, until};

const MIB: usize = 1024 * 1024;

/// A database with one workspace.
pub(crate) struct Postgres {
    pub(crate) files: PgStorage,
    feed: PgActivityLog,
    pub(crate) workspace: WorkspaceId,
    pub(crate) db: Client,
    database: Database,
    test_database: TestDatabase,
}

impl Postgres {
    pub(crate) async fn with_a_workspace() -> Self {
        let test_database = support::migrated().await;
        let database = support::connect(&test_database);
        let clock = Arc::new(SystemClock);
        let workspace = support::register(&database, clock.clone()).await;
        Self {
            files: PgStorage::new(&database, StorageConfig::default(), clock.clone()),
            feed: PgActivityLog::new(&database, clock),
            workspace,
            db: support::db_client(&test_database).await,
            database,
            test_database,
        }
    }

    pub(crate) async fn db_number(&self, sql: &str) -> i64 {
        self.db.query_one(sql, &[]).await.unwrap().get(0)
    }

    async fn feed_length(&self) -> usize {
        let query = ActivityQuery::from_start(FeedStart::Newest);
        self.feed.list(self.workspace, &query).await.unwrap().len()
    }

    pub(crate) async fn stage(&self, data: &[u8]) -> pending_uploads_core::PendingUpload {
        self.files
            .stage(self.workspace, name(), Mimetype::absent(), data)
            .await
            .unwrap()
    }
}

fn name() -> Filename {
    Filename::sanitize("report.pdf")
}

#[tokio::test(flavor = "multi_thread")]
async fn files_published_in_a_callers_transaction_appear_with_its_own_rows() {
    let mut it = Postgres::with_a_workspace().await;
    it.db
        .batch_execute("CREATE TABLE orders (id int)")
        .await
        .unwrap();
    let mut batch = it.files.begin_batch(it.workspace);
    batch.start_file(name(), Mimetype::absent()).await.unwrap();
    batch.write(&vec![7; 3 * MIB]).await.unwrap();
    batch.finish_file().await.unwrap();

    let tx = it.db.transaction().await.unwrap();
    tx.execute("INSERT INTO orders VALUES (1)", &[])
        .await
        .unwrap();
    let published = batch.publish_in(&tx).await.unwrap();
    assert!(
        it.files
            .list(it.workspace, None, 10)
            .await
            .unwrap()
            .is_empty()
    );
    tx.commit().await.unwrap();

    assert_eq!(
        it.files.list(it.workspace, None, 10).await.unwrap(),
        published
    );
    assert_eq!(it.db_number("SELECT count(*) FROM orders").await, 1);
    assert_eq!(it.feed_length().await, 1);
    let bytes = it
        .files
        .read_whole(it.workspace, published[0].file_id, u64::MAX)
        .await
        .unwrap();
    assert_eq!(bytes, vec![7; 3 * MIB]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callers_commit_wakes_whoever_waits_for_the_feed() {
    let mut it = Postgres::with_a_workspace().await;
    let first = it
        .feed
        .append(
            it.workspace,
            NewActivity::message(it.workspace, "x", serde_json::Value::Null),
        )
        .await
        .unwrap();
    let (feed, workspace) = (it.feed.clone(), it.workspace);
    let waiting = tokio::spawn(async move {
        let query = ActivityQuery::from_start(FeedStart::After(first.id));
        feed.wait(workspace, &query, Duration::from_mins(1)).await
    });
    let mut batch = it.files.begin_batch(it.workspace);
    batch.start_file(name(), Mimetype::absent()).await.unwrap();
    batch.write(b"x").await.unwrap();
    batch.finish_file().await.unwrap();
    let tx = it.db.transaction().await.unwrap();
    batch.publish_in(&tx).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_files_whose_callers_transaction_was_rolled_back() {
    let mut it = Postgres::with_a_workspace().await;
    let mut batch = it.files.begin_batch(it.workspace);
    batch.start_file(name(), Mimetype::absent()).await.unwrap();
    batch.write(&vec![7; 2 * MIB + 1]).await.unwrap();
    batch.finish_file().await.unwrap();
    let tx = it.db.transaction().await.unwrap();
    batch.publish_in(&tx).await.unwrap();
    tx.rollback().await.unwrap();

    assert!(
        it.files
            .list(it.workspace, None, 10)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(it.feed_length().await, 0);
    until("staged bytes are deleted", async || {
        it.db_number("SELECT count(*) FROM pending_upload_chunks")
            .await
            == 0
            && it.db_number("SELECT count(*) FROM staged_batches").await == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_outlives_lost_connections_and_publishes_once() {
    let it = Postgres::with_a_workspace().await;
    let data: Vec<u8> = (0..=250).cycle().take(5 * MIB + 3).collect();
    let mut batch = it.files.begin(it.workspace).await.unwrap();
    batch.start_file(name(), Mimetype::absent()).await.unwrap();
    for piece in data.chunks(MIB) {
        support::db_cut_connections(&it.db).await;
        batch.write(piece).await.unwrap();
    }
    batch.finish_file().await.unwrap();
    support::db_cut_connections(&it.db).await;
    let published = batch.publish().await.unwrap();

    let bytes = it
        .files
        .read_whole(it.workspace, published[0].file_id, u64::MAX)
        .await
        .unwrap();
    assert_eq!(bytes, data);
    assert_eq!(it.feed_length().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_whose_hints_were_lost_gets_the_row_all_the_same() {
    let it = Postgres::with_a_workspace().await;
    let message = || NewActivity::message(it.workspace, "x", serde_json::Value::Null);
    let first = it.feed.append(it.workspace, message()).await.unwrap();
    let elsewhere = support::connect(&it.test_database);
    let reader = PgActivityLog::new(&elsewhere, Arc::new(SystemClock));
    let workspace = it.workspace;
    let query = ActivityQuery::from_start(FeedStart::After(first.id));
    // Its connection is there before it is cut.
    assert!(reader.list(workspace, &query).await.unwrap().is_empty());
    let waiting =
        tokio::spawn(async move { reader.wait(workspace, &query, Duration::from_mins(1)).await });
    // Neither a hint nor a wake-up in this process: the row is written behind both their backs.
    support::db_cut_connections(&it.db).await;
    it.db
        .batch_execute(
            "WITH counter AS (UPDATE feed_counters SET last_seq = last_seq + 1 RETURNING *) \
             INSERT INTO activity (workspace_id, seq, id, activity_type, status, created_at) \
             SELECT workspace_id, last_seq, gen_random_uuid(), 'a2a_receive', 'ok', now() \
             FROM counter",
        )
        .await
        .unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_is_alone_has_two_windows_on_their_way() {
    let it = Postgres::with_a_workspace().await;
    let data = [vec![1; MIB], vec![2; MIB]].concat();
    let upload = it.stage(&data).await;
    it.db
        .batch_execute("BEGIN; LOCK pending_upload_chunks")
        .await
        .unwrap();
    let files = it.files.clone();
    let fetch = tokio::spawn(async move {
        let bytes = files.read_whole(upload.workspace_id, upload.file_id, u64::MAX);
        bytes.await
    });
    until("two windows wait for the lock", async || {
        support::db_who_wait_for_locks(&it.db).await == 2
    })
    .await;
    it.db.batch_execute("COMMIT").await.unwrap();
    assert!(fetch.await.unwrap().unwrap() == data);
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_up_listing_acking_and_counting_never_touch_the_bytes() {
    let it = Postgres::with_a_workspace().await;
    let upload = it.stage(&vec![1; 3 * MIB]).await;
    // Whatever touches the bytes from here on fails.
    it.db
        .batch_execute("ALTER TABLE pending_upload_chunks RENAME TO pending_upload_chunks_away")
        .await
        .unwrap();
    it.files.get(it.workspace, upload.file_id).await.unwrap();
    it.files.list(it.workspace, None, 10).await.unwrap();
    it.files.stats().await.unwrap();
    it.files
        .mark_fetched(it.workspace, upload.file_id)
        .await
        .unwrap();
    it.files.ack(it.workspace, upload.file_id).await.unwrap();
    let read = it
        .files
        .read_whole(it.workspace, upload.file_id, u64::MAX)
        .await;
    assert!(
        matches!(read, Err(Error::NotFound | Error::Backend { .. })),
        "{read:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_default_is_to_forget_is_told_to_be_durable() {
    let test_database = support::migrated().await;
    let db = support::db_client(&test_database).await;
    let name = test_database.name();
    db.batch_execute(&format!(
        "ALTER DATABASE {name} SET synchronous_commit = off"
    ))
    .await
    .unwrap();
    let seen = settings_seen_by_the_statements(&test_database, &db, "setting").await;
    assert_eq!(seen, ["INSERT on", "UPDATE off", "UPDATE on"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_default_changes_later_changes_no_session_of_ours() {
    let test_database = support::migrated().await;
    let db = support::db_client(&test_database).await;
    // A session that has its own value does not follow the server's.
    let seen = settings_seen_by_the_statements(&test_database, &db, "source").await;
    assert_eq!(seen, ["INSERT session", "UPDATE session", "UPDATE session"]);
}

/// What statements of ours are: a publish, a note of a fetch and an ack; and what each of them sees of
/// `synchronous_commit`. A trigger is how that can be seen from outside.
async fn settings_seen_by_the_statements(
    test_database: &TestDatabase,
    db: &Client,
    column: &str,
) -> Vec<String> {
    db.batch_execute(&format!(
        "CREATE TABLE seen (what text); \
         CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             INSERT INTO seen SELECT concat_ws(' ', TG_OP, {column}) FROM pg_settings \
                 WHERE name = 'synchronous_commit'; \
             RETURN NULL; END $$; \
         CREATE TRIGGER see AFTER INSERT OR UPDATE ON pending_uploads \
             FOR EACH STATEMENT EXECUTE FUNCTION see()"
    ))
    .await
    .unwrap();
    let database = support::connect(test_database);
    let clock = Arc::new(SystemClock);
    let files = PgStorage::new(&database, StorageConfig::default(), clock.clone());
    let workspace = support::register(&database, clock).await;
    let upload = files
        .stage(workspace, Filename::sanitize("x"), Mimetype::absent(), b"x")
        .await
        .unwrap();
    files.mark_fetched(workspace, upload.file_id).await.unwrap();
    files.ack(workspace, upload.file_id).await.unwrap();
    let seen = db.query("SELECT what FROM seen", &[]).await.unwrap();
    seen.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_bytes_are_an_integrity_error_and_never_a_short_file() {
    let it = Postgres::with_a_workspace().await;
    let upload = it.stage(&vec![1; 3 * MIB]).await;
    it.db
        .batch_execute("DELETE FROM pending_upload_chunks WHERE seq = 40")
        .await
        .unwrap();
    let read = it
        .files
        .read_whole(it.workspace, upload.file_id, u64::MAX)
        .await;
    assert!(matches!(read, Err(Error::Integrity { .. })), "{read:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_is_unavailable_and_a_batch_begun_before_is_told_so() {
    let it = Postgres::with_a_workspace().await;
    let mut batch = it.files.begin(it.workspace).await.unwrap();
    batch.start_file(name(), Mimetype::absent()).await.unwrap();
    let name = it.test_database.name();
    let admin = admin_client().await;
    admin
        .batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        .await
        .unwrap();
    support::db_cut_connections(&it.db).await;

    let error = batch.write(&vec![1; 2 * MIB]).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    let error = it
        .files
        .get(it.workspace, pending_uploads_core::FileId::generate())
        .await;
    assert!(matches!(error, Err(Error::Unavailable { .. })), "{error:?}");

    admin
        .batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
        .await
        .unwrap();
    assert!(
        it.files
            .list(it.workspace, None, 10)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        it.database.schema().await.unwrap().uploads,
        pending_uploads_pg::SchemaPart::Ready
    );
}

/// A connection to the cluster's own database.
async fn admin_client() -> Client {
    let url = std::env::var(pg_cluster::TEST_URL_VARIABLE).unwrap();
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_commits_late_keeps_nobody_else_waiting_for_a_connection() {
    let test_database = support::migrated().await;
    let config = DatabaseConfig::parse(&test_database.url()).unwrap();
    let database = Database::connect(&config.with_pool_size(NonZeroUsize::MIN)).unwrap();
    let clock = Arc::new(SystemClock);
    let files = PgStorage::new(&database, StorageConfig::default(), clock.clone());
    let workspace = support::register(&database, clock).await;
    let mut batch = files.begin_batch(workspace);
    batch.start_file(name(), Mimetype::absent()).await.unwrap();
    batch.write(&vec![7; 2 * MIB]).await.unwrap();
    batch.finish_file().await.unwrap();
    let mut db = support::db_client(&test_database).await;
    let tx = db.transaction().await.unwrap();
    batch.publish_in(&tx).await.unwrap();

    // The pool's only connection is free while the transaction is open, again and again.
    for _ in 0..50 {
        assert!(files.list(workspace, None, 10).await.unwrap().is_empty());
    }
    tx.commit().await.unwrap();
    assert_eq!(files.list(workspace, None, 10).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn times_from_before_all_rows_can_be_asked_for() {
    let it = Postgres::with_a_workspace().await;
    let ancient = Timestamp::from_micros(-300_000_000_000_000_000);
    let message = NewActivity::message(it.workspace, "x", serde_json::Value::Null);
    it.feed.append(it.workspace, message).await.unwrap();
    let mut query = ActivityQuery::from_start(FeedStart::Newest);
    query.created_before = Some(ancient);
    assert!(it.feed.list(it.workspace, &query).await.unwrap().is_empty());
    query.created_before = None;
    query.created_since = Some(ancient);
    assert_eq!(it.feed.list(it.workspace, &query).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_reached_over_its_socket_in_the_file_system() {
    let it = Postgres::with_a_workspace().await;
    let folder: String = it
        .db
        .query_one("SHOW unix_socket_directories", &[])
        .await
        .unwrap()
        .get(0);
    let port: String = it.db.query_one("SHOW port", &[]).await.unwrap().get(0);
    let host = folder.replace('/', "%2F");
    let url = format!(
        "postgres://postgres@{host}:{port}/{}",
        it.test_database.name()
    );
    let config = DatabaseConfig::parse(&url).unwrap();
    let nearby = Database::connect(&config).unwrap();
    let files = PgStorage::new(&nearby, StorageConfig::default(), Arc::new(SystemClock));
    let data = vec![7; 3 * MIB];
    let staged = files
        .stage(it.workspace, name(), Mimetype::absent(), &data)
        .await
        .unwrap();
    let read = files
        .read_whole(it.workspace, staged.file_id, u64::MAX)
        .await;
    assert!(read.unwrap() == data);
    let over_sockets = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
         AND backend_type = 'client backend' AND client_addr IS NULL";
    assert!(it.db_number(over_sockets).await > 0);
}
