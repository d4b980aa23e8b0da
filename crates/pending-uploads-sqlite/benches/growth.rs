//! What each call of the traits costs on SQLite as the store grows, from a thousand waiting files to
//! a million: the time of each, and the size of the database.
//!
//! `cargo bench -p pending-uploads-sqlite --bench growth`, on a quiet machine. It takes about a
//! minute, and needs about 2 GB of disk in the temporary folder (`TMPDIR`). Sizes may be named:
//! `… --bench growth -- 1000 10000`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark fails by panicking, prints its table, and rounds"
)]

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use pending_uploads_core::{
    ActivityLog, ActivityQuery, ActivityType, FeedStart, FileId, Filename, ManualClock, Mimetype,
    Quota, Storage, StorageExt, SweepPolicy, Timestamp, Token, WorkspaceId, Workspaces,
};
use pending_uploads_sqlite::{
    Database, SqliteActivityLog, SqliteStorage, SqliteWorkspaces, StorageConfig,
};
use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::{Batch, Connection};
use uuid::Uuid;

const FILL: &str = include_str!("../src/million.sql");
/// The time that it is in there: 2026-01-01.
const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);
const SIZES: [i64; 4] = [1_000, 10_000, 100_000, 1_000_000];
const ROUNDS: u128 = 60;

#[tokio::main]
async fn main() {
    let named: Vec<i64> = std::env::args()
        .filter_map(|arg| arg.parse().ok())
        .collect();
    let sizes = if named.is_empty() {
        SIZES.to_vec()
    } else {
        named
    };
    for files in sizes {
        let folder = tempfile::tempdir().unwrap();
        fill(folder.path(), files).await;
        let path = folder.path().join("pending-uploads.sqlite3");
        let bytes = path.metadata().unwrap().len() as f64;
        println!(
            "\n{files} waiting files, as many feed rows: {:.0} bytes of database a file",
            bytes / files as f64
        );
        measure(&Store::open(folder.path())).await;
    }
}

async fn fill(folder: &Path, files: i64) {
    let database = Database::open(folder).unwrap();
    let closed = database.closed();
    drop(database);
    closed.await;
    let connection = Connection::open(folder.join("pending-uploads.sqlite3")).unwrap();
    connection
        .execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -262144; BEGIN")
        .unwrap();
    let mut statements = Batch::new(&connection, FILL);
    while let Some(mut statement) = statements.next().unwrap() {
        if statement.parameter_count() == 0 {
            statement.execute([]).unwrap();
        } else {
            statement.execute(&[(":files", &files)]).unwrap();
        }
    }
    connection.execute_batch("COMMIT").unwrap();
    drop(connection);
    // Or the first checkpoint of what is measured would do it.
    let database = File::open(folder.join("pending-uploads.sqlite3")).unwrap();
    database.sync_all().unwrap();
}

/// The traits on a filled folder.
struct Store {
    files: SqliteStorage,
    feed: SqliteActivityLog,
    workspaces: SqliteWorkspaces,
}

impl Store {
    fn open(folder: &Path) -> Self {
        let database = Database::open(folder).unwrap();
        let clock = Arc::new(ManualClock::starting_at(NOW));
        let quota = Quota {
            waiting_bytes: u64::MAX,
            waiting_files: u32::MAX,
        };
        let config = StorageConfig {
            quota,
            ..StorageConfig::default()
        };
        Self {
            files: SqliteStorage::new(&database, config, clock.clone()),
            feed: SqliteActivityLog::new(&database, clock.clone()),
            workspaces: SqliteWorkspaces::new(&database, clock),
        }
    }

    async fn publish(&self, workspace: WorkspaceId) -> FileId {
        let name = Filename::sanitize("new.bin");
        let staged = self
            .files
            .stage(workspace, name, Mimetype::absent(), &[1; 1000]);
        staged.await.unwrap().file_id
    }
}

/// Some workspace that is like most.
fn workspace(round: u128) -> WorkspaceId {
    WorkspaceId::from_uuid(Uuid::from_u128(1 + (round * 7919) % 4999))
}

/// Prints one line: the median of the times.
async fn line<T>(what: &str, prepared: Vec<T>, mut call: impl AsyncFnMut(T)) {
    let mut times = Vec::new();
    for input in prepared {
        let started = Instant::now();
        call(input).await;
        times.push(started.elapsed());
    }
    times.sort();
    println!("| {what} | {} |", times[times.len() / 2].as_micros());
}

async fn measure(store: &Store) {
    println!("| call | median µs |");
    println!("|---|---|");
    let workspaces = || (0..ROUNDS).map(workspace).collect::<Vec<_>>();
    line("authenticate", workspaces(), async |workspace| {
        let token = Token::generate().unwrap();
        store
            .workspaces
            .authenticate(workspace, &token)
            .await
            .unwrap();
    })
    .await;
    let mut files = Vec::new();
    line("publish 1 KB", workspaces(), async |workspace| {
        files.push((workspace, store.publish(workspace).await));
    })
    .await;
    let first = WorkspaceId::from_uuid(Uuid::nil());
    let what = "publish 1 KB where a tenth of all waits";
    line(what, vec![first; 60], async |workspace| {
        store.publish(workspace).await;
    })
    .await;
    let mut cursors = Vec::new();
    for workspace in workspaces() {
        let newest = ActivityQuery::from_start(FeedStart::Newest);
        let rows = store.feed.list(workspace, &newest).await.unwrap();
        cursors.push((workspace, rows[0].id));
    }
    line("poll, nothing new", cursors, async |(workspace, cursor)| {
        let query = ActivityQuery {
            activity_type: Some(ActivityType::A2A_RECEIVE),
            ..ActivityQuery::from_start(FeedStart::After(cursor))
        };
        store.feed.list(workspace, &query).await.unwrap();
    })
    .await;
    line("list what waits", workspaces(), async |workspace| {
        store.files.list(workspace, None, 500).await.unwrap();
    })
    .await;
    line("look up", files.clone(), async |(workspace, file)| {
        store.files.get(workspace, file).await.unwrap();
    })
    .await;
    line("open 1 KB", files.clone(), async |(workspace, file)| {
        let opened = store.files.open(workspace, file).await.unwrap();
        assert!(opened.bytes.is_some());
    })
    .await;
    line("ack", files, async |(workspace, file)| {
        store.files.ack(workspace, file).await.unwrap();
    })
    .await;
    housekeeping(store).await;
}

async fn housekeeping(store: &Store) {
    let policy = SweepPolicy::default();
    let horizon = NOW.saturating_sub(policy.feed_retention);
    let (mut swept, mut pruned) = (0, 0);
    line("a step of the sweep", vec![(); 3], async |()| {
        swept += store.files.sweep(&policy).await.unwrap().files.len();
    })
    .await;
    line("a step of pruning", vec![(); 3], async |()| {
        pruned += store.feed.prune(horizon).await.unwrap();
    })
    .await;
    println!("  ({swept} files and {pruned} rows in 3 steps each)");
    line("count", vec![(); 3], async |()| {
        store.files.stats().await.unwrap();
    })
    .await;
}
