//! What each call of the traits costs on PostgreSQL as the store grows, from a thousand waiting files
//! to a million: time, pages that were looked at, and bytes of write-ahead log. Then what a deletion
//! costs: row by row, and a partition dropped whole.
//!
//! `cargo bench -p pending-uploads-pg --bench growth`, on a quiet machine. It starts a cluster of its
//! own, takes some minutes, and needs about 3 GB of disk in the temporary folder (`TMPDIR`).
//! Sizes may be named: `… --bench growth -- 1000 10000`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark fails by panicking, prints its table, and rounds"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use pending_uploads_core::{
    ActivityId, ActivityLog, ActivityQuery, ActivityType, FeedStart, FileId, Filename, ManualClock,
    Mimetype, Quota, Storage, StorageExt, SweepPolicy, Timestamp, Token, WorkspaceId, Workspaces,
};
use pending_uploads_pg::{
    Database, DatabaseConfig, PgActivityLog, PgStorage, PgWorkspaces, StorageConfig, migrate,
};
use pg_cluster::{Cluster, ClusterOptions, Durability};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

const FILL: &str = include_str!("../tests/postgres/million.sql");
/// The time that it is in there: 2026-01-01.
const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);
const SIZES: [i32; 4] = [1_000, 10_000, 100_000, 1_000_000];
const ROUNDS: usize = 60;

/// Of this process's own statements, and of nobody else's.
const COUNTS: &str = "SELECT coalesce(sum(calls), 0)::int8, \
         coalesce(sum(shared_blks_hit + shared_blks_read), 0)::int8, \
         coalesce(sum(wal_bytes), 0)::int8 \
     FROM pg_stat_statements JOIN pg_database ON oid = dbid \
     WHERE datname = current_database() AND query NOT LIKE '%pg_stat_statements%' \
         AND query NOT LIKE '%pg_notify%'";
const RELATIONS: &str = "SELECT relname::text, pg_relation_size(oid) FROM pg_class \
     WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i') \
         AND pg_relation_size(oid) > 0 AND relname ~ '^(activity|pending)' ORDER BY relname";

#[tokio::main]
async fn main() {
    let named: Vec<i32> = std::env::args()
        .filter_map(|arg| arg.parse().ok())
        .collect();
    let sizes = if named.is_empty() {
        SIZES.to_vec()
    } else {
        named
    };
    let options = ClusterOptions::default()
        .durability(Durability::Fsync)
        .setting("max_wal_size", "4GB")
        .setting("checkpoint_timeout", "1h")
        .with_statement_statistics();
    let cluster = Cluster::start(options).unwrap();
    for files in sizes {
        let name = cluster.create_database().unwrap();
        let url = cluster.url(&name);
        measure(&url, files).await;
        cluster.drop_database(&name).unwrap();
    }
    let name = cluster.create_database().unwrap();
    measure_deletion(&connect(&cluster.url(&name)).await).await;
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// The traits on a filled database.
struct Store {
    files: PgStorage,
    feed: PgActivityLog,
    workspaces: PgWorkspaces,
    db: Client,
    /// How many workspaces there are beside the first.
    others: usize,
}

async fn measure(url: &str, files: i32) {
    let config = DatabaseConfig::parse(url).unwrap();
    let database = Database::connect(&config).unwrap();
    migrate::up(&database).await.unwrap();
    let db = connect(url).await;
    let fill = format!("SET fill.files = {files}; SET synchronous_commit = off; {FILL}");
    db.batch_execute(&fill).await.unwrap();
    let finish = [
        "VACUUM (ANALYZE)",
        "CREATE EXTENSION pg_stat_statements",
        "CHECKPOINT",
    ];
    for sql in finish {
        db.batch_execute(sql).await.unwrap();
    }
    println!("\n{files} waiting files, as many feed rows");
    for row in db.query(RELATIONS, &[]).await.unwrap() {
        let (name, bytes): (String, i64) = (row.get(0), row.get(1));
        println!(
            "  {name}: {:.0} bytes a file",
            bytes as f64 / f64::from(files)
        );
    }
    let clock = Arc::new(ManualClock::starting_at(NOW));
    let quota = Quota {
        waiting_bytes: u64::MAX,
        waiting_files: u32::MAX,
    };
    let config = StorageConfig {
        quota,
        ..StorageConfig::default()
    };
    let store = Store {
        files: PgStorage::new(&database, config, clock.clone()),
        feed: PgActivityLog::new(&database, clock.clone()),
        workspaces: PgWorkspaces::new(&database, clock),
        db,
        others: usize::try_from(files / 50 - 1).unwrap().max(9),
    };
    println!("| call | median µs | statements | pages | WAL bytes |");
    println!("|---|---|---|---|---|");
    requests(&store).await;
    housekeeping(&store).await;
}

impl Store {
    /// Some workspace that is like most.
    async fn workspace(&self, round: usize) -> WorkspaceId {
        self.numbered(1 + (round * 7919) % self.others).await
    }

    async fn numbered(&self, number: usize) -> WorkspaceId {
        let name = format!("workspace {number}");
        let row = self.db.query_one("SELECT md5($1)::uuid", &[&name]).await;
        WorkspaceId::from_uuid(row.unwrap().get(0))
    }

    async fn some_file(&self, workspace: WorkspaceId) -> FileId {
        let page = self.files.list(workspace, None, 1).await.unwrap();
        page[0].file_id
    }

    async fn newest_row(&self, workspace: WorkspaceId) -> ActivityId {
        let sql = "SELECT id FROM activity WHERE workspace_id = $1 ORDER BY seq DESC LIMIT 1";
        let row = self.db.query_one(sql, &[&workspace.as_uuid()]).await;
        ActivityId::from_uuid(row.unwrap().get::<_, Uuid>(0))
    }

    async fn publish(&self, workspace: WorkspaceId) {
        let name = Filename::sanitize("new.bin");
        let staged = self
            .files
            .stage(workspace, name, Mimetype::absent(), &[1; 1000]);
        staged.await.unwrap();
    }

    async fn open(&self, workspace: WorkspaceId, file: FileId) {
        let opened = self.files.open(workspace, file).await.unwrap();
        assert!(opened.bytes.is_some());
    }
}

/// Prints one line: the median of the times, and the mean of what the server counted.
async fn line<T>(store: &Store, what: &str, prepared: Vec<T>, mut call: impl AsyncFnMut(T)) {
    let rounds = prepared.len();
    let mut times = Vec::new();
    store
        .db
        .batch_execute("SELECT pg_stat_statements_reset()")
        .await
        .unwrap();
    for input in prepared {
        let started = Instant::now();
        call(input).await;
        times.push(started.elapsed());
    }
    let counted = store.db.query_one(COUNTS, &[]).await.unwrap();
    let mean = |column| counted.get::<_, i64>(column) as f64 / rounds as f64;
    times.sort();
    println!(
        "| {what} | {} | {:.1} | {:.0} | {:.0} |",
        times[rounds / 2].as_micros(),
        mean(0),
        mean(1),
        mean(2)
    );
}

async fn requests(store: &Store) {
    let mut files = Vec::new();
    let mut cursors = Vec::new();
    for round in 0..ROUNDS {
        let workspace = store.workspace(round).await;
        files.push((workspace, store.some_file(workspace).await));
        cursors.push((workspace, store.newest_row(workspace).await));
    }
    let workspaces = || files.iter().map(|(workspace, _)| *workspace).collect();
    line(store, "authenticate", workspaces(), async |workspace| {
        let token = Token::generate().unwrap();
        store
            .workspaces
            .authenticate(workspace, &token)
            .await
            .unwrap();
    })
    .await;
    line(
        store,
        "poll, nothing new",
        cursors,
        async |(workspace, cursor)| {
            let query = ActivityQuery {
                activity_type: Some(ActivityType::A2A_RECEIVE),
                ..ActivityQuery::from_start(FeedStart::After(cursor))
            };
            store.feed.list(workspace, &query).await.unwrap();
        },
    )
    .await;
    line(store, "list what waits", workspaces(), async |workspace| {
        store.files.list(workspace, None, 500).await.unwrap();
    })
    .await;
    line(
        store,
        "look up",
        files.clone(),
        async |(workspace, file)| {
            store.files.get(workspace, file).await.unwrap();
        },
    )
    .await;
    line(
        store,
        "open 10 bytes",
        files.clone(),
        async |(workspace, file)| {
            store.open(workspace, file).await;
        },
    )
    .await;
    line(store, "publish 1 KB", workspaces(), async |workspace| {
        store.publish(workspace).await;
    })
    .await;
    let first = store.numbered(0).await;
    let what = "publish 1 KB where a tenth of all waits";
    line(store, what, vec![first; ROUNDS], async |workspace| {
        store.publish(workspace).await;
    })
    .await;
    line(store, "ack", files.clone(), async |(workspace, file)| {
        // Some workspace may have come up twice, and its file with it.
        store.files.ack(workspace, file).await.unwrap();
    })
    .await;
}

async fn housekeeping(store: &Store) {
    let policy = SweepPolicy::default();
    let mut swept = 0;
    let steps = vec![(); 3];
    line(store, "a step of the sweep", steps.clone(), async |()| {
        swept += store.files.sweep(&policy).await.unwrap().files.len();
    })
    .await;
    println!("  ({swept} files in {} steps)", steps.len());
    let (horizon, mut pruned) = (NOW.saturating_sub(policy.feed_retention), 0);
    line(store, "a step of pruning", steps.clone(), async |()| {
        pruned += store.feed.prune(horizon).await.unwrap();
    })
    .await;
    println!("  ({pruned} rows in {} steps)", steps.len());
    line(store, "count", steps, async |()| {
        store.files.stats().await.unwrap();
    })
    .await;
}

const HOURS: &str = "CREATE TABLE hour_rows (file_id uuid, seq int, data bytea, \
         PRIMARY KEY (file_id, seq)); \
     ALTER TABLE hour_rows ALTER COLUMN data SET STORAGE EXTERNAL; \
     CREATE TABLE hours (hour int, file_id uuid, seq int, data bytea, \
         PRIMARY KEY (hour, file_id, seq)) PARTITION BY LIST (hour); \
     CREATE TABLE hour_1 PARTITION OF hours FOR VALUES IN (1); \
     ALTER TABLE hour_1 ALTER COLUMN data SET STORAGE EXTERNAL; \
     INSERT INTO hour_rows SELECT md5(n::text)::uuid, 0, decode(repeat('ab', 65536), 'hex') \
         FROM generate_series(1, 8000) AS n; \
     INSERT INTO hours SELECT 1, file_id, seq, data FROM hour_rows; CHECKPOINT";
/// The sweep's own way: a hundred files a transaction.
const STEP: &str = "DELETE FROM hour_rows WHERE file_id = ANY(ARRAY( \
     SELECT file_id FROM hour_rows ORDER BY file_id LIMIT 100))";

/// The same 8,000 chunks of 64 KiB, 500 MB, deleted and dropped.
async fn measure_deletion(db: &Client) {
    db.batch_execute(HOURS).await.unwrap();
    println!("\n| 8,000 chunks of 64 KiB | ms | WAL bytes |");
    println!("|---|---|---|");
    let (took, wal) = timed(
        db,
        async || {
            while db.execute(STEP, &[]).await.unwrap() > 0 {}
        },
    )
    .await;
    println!(
        "| deleted, 100 a transaction | {} | {wal} |",
        took.as_millis()
    );
    let (took, wal) = timed(db, async || {
        db.batch_execute("VACUUM hour_rows").await.unwrap();
    })
    .await;
    println!("| and then vacuumed | {} | {wal} |", took.as_millis());
    let (took, wal) = timed(db, async || {
        db.batch_execute("DROP TABLE hour_1").await.unwrap();
    })
    .await;
    println!("| a partition dropped | {} | {wal} |", took.as_millis());
}

async fn timed(db: &Client, work: impl AsyncFn()) -> (Duration, i64) {
    let position = "SELECT (pg_current_wal_lsn() - '0/0')::int8";
    let wal = async || -> i64 { db.query_one(position, &[]).await.unwrap().get(0) };
    let before = wal().await;
    let started = Instant::now();
    work().await;
    let took = started.elapsed();
    (took, wal().await - before)
}
