//! What a million files cost: each statement that this crate really runs is watched by SQLite itself
//! while it runs on a large database. None goes over a whole table, none is planned again when it is
//! run again, and none takes more steps of the virtual machine than a bound says, which is no clock.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use pending_uploads_core::{
    ActivityId, ActivityLog, ActivityQuery, ActivityType, ByteRange, FeedStart, Filename,
    ListAfter, ManualClock, Mimetype, NewActivity, PageSize, Quota, Source, Storage, StorageConfig,
    StorageExt, SweepPolicy, SweepReason, Timestamp, Token, WorkspaceId, Workspaces,
};
use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::trace::{TraceEvent, TraceEventCodes};
use rusqlite::{Connection, StatementStatus, named_params};
use serde_json::Value;
use uuid::Uuid;

use crate::writer::Promise;
use crate::{Database, SqliteActivityLog, SqliteStorage, SqliteWorkspaces};

const MILLION: &str = include_str!("million.sql");
/// What is acked lies in bundles, with nine other files each that are not counted.
const BUNDLES: &str = "UPDATE pending_uploads SET placement = 'file', bundle_offset = 0, \
        bundle_id = file_id WHERE acked_at IS NOT NULL; \
    INSERT INTO bundles SELECT bundle_id, 10 FROM pending_uploads WHERE bundle_id IS NOT NULL;";
const FILES: i64 = 1_000_000;
/// The time that it is in there: 2026-01-01.
const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);
/// Its feed has 500,000 rows that no inbox asks for, and it has 100,000 files.
const LARGE: WorkspaceId = WorkspaceId::from_uuid(Uuid::nil());
const SMALL: WorkspaceId = WorkspaceId::from_uuid(Uuid::from_u128(7));

/// A statement that finds a row, or a page of at most 500, takes fewer steps than this.
const FEW: i32 = 50_000;
/// As many as counting a million files takes.
const A_COUNT: i32 = 20_000_000;

static SEEN: Mutex<Vec<Run>> = Mutex::new(Vec::new());

/// How a statement went, all its runs on one connection together.
#[derive(Debug)]
struct Run {
    sql: String,
    scanned: i32,
    steps: i32,
    replanned: i32,
}

fn seen() -> MutexGuard<'static, Vec<Run>> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watch(connection: &mut Connection) {
    let note = |event: TraceEvent<'_>| {
        if let TraceEvent::Profile(statement, _) = event {
            seen().push(Run {
                sql: statement.sql().into_owned(),
                scanned: statement.get_status(StatementStatus::FullscanStep),
                steps: statement.get_status(StatementStatus::VmStep),
                replanned: statement.get_status(StatementStatus::RePrepare),
            });
        }
    };
    connection
        .trace_v2(TraceEventCodes::SQLITE_TRACE_PROFILE, Some(note))
        .unwrap();
}

/// Fills a fresh folder's database: with its indexes made at the end, and nothing synced.
async fn fill(folder: &Path) {
    let database = Database::open(folder).unwrap();
    let (path, closed) = (database.folder().database(), database.closed());
    drop(database);
    closed.await;
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -262144; BEGIN")
        .unwrap();
    let indexes: Vec<(String, String)> = connection
        .prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    for (name, _) in &indexes {
        connection
            .execute_batch(&format!("DROP INDEX {name}"))
            .unwrap();
    }
    let mut statements = rusqlite::Batch::new(&connection, MILLION);
    while let Some(mut statement) = statements.next().unwrap() {
        if statement.parameter_count() == 0 {
            statement.execute([]).unwrap();
        } else {
            statement
                .execute(named_params! { ":files": FILES })
                .unwrap();
        }
    }
    connection.execute_batch(BUNDLES).unwrap();
    for (_, made_by) in &indexes {
        connection.execute_batch(made_by).unwrap();
    }
    connection.execute_batch("COMMIT").unwrap();
}

/// Checks what ran since the last check: something, nothing of it over a whole table, and all of it
/// by the plan that was made first.
fn check(what: &str, most_steps: i32) {
    let runs: Vec<Run> = seen().drain(..).collect();
    assert!(!runs.is_empty(), "{what} ran no statement");
    for run in runs {
        let counts = run.sql.starts_with("SELECT count(*)");
        assert!(counts || run.scanned == 0, "{what} scans: {run:?}");
        assert_eq!(run.replanned, 0, "{what} is planned again: {run:?}");
        assert!(
            run.steps <= most_steps,
            "{what} takes more than {most_steps} steps: {run:?}"
        );
    }
}

struct Million {
    files: SqliteStorage,
    feed: SqliteActivityLog,
    workspaces: SqliteWorkspaces,
    database: Database,
}

impl Million {
    fn open(folder: &Path) -> Self {
        let database = Database::open_watched(folder, watch).unwrap();
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
            database,
        }
    }

    async fn page(&self, workspace: WorkspaceId, query: &ActivityQuery) -> usize {
        self.feed.list(workspace, query).await.unwrap().len()
    }

    async fn row_of(&self, workspace: WorkspaceId, seq: i64) -> ActivityId {
        let work = move |connection: &Connection| {
            let id = connection.query_row(
                "SELECT id FROM activity WHERE workspace_id = ?1 AND seq = ?2",
                (crate::rows::Id(workspace.as_uuid()), seq),
                |row| row.get::<_, crate::rows::Id>(0),
            )?;
            Ok(ActivityId::from_uuid(id.0))
        };
        self.database.readers().read(work).await.unwrap()
    }
}

#[tokio::test]
async fn no_statement_goes_over_a_table_of_a_million_rows() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path()).await;
    let it = Million::open(folder.path());
    seen().clear();
    for workspace in [SMALL, LARGE] {
        takes_files(&it, workspace).await;
        hands_files_over(&it, workspace).await;
    }
    reads_feeds(&it).await;
    reads_a_long_feed(&it).await;
    keeps_house(&it).await;
    counts_what_waits(&it, LARGE).await;
}

async fn takes_files(it: &Million, workspace: WorkspaceId) {
    let token = Token::generate().unwrap();
    it.workspaces.authenticate(workspace, &token).await.unwrap();
    check("authenticating", FEW);
    for bytes in [1000, 2_500_000] {
        let name = Filename::sanitize("new.bin");
        let data = vec![1; bytes];
        let staged = it.files.stage(workspace, name, Mimetype::absent(), &data);
        staged.await.unwrap();
        check("publishing", FEW);
    }
    let mut batch = it.files.begin(workspace).await.unwrap();
    for _ in 0..4 {
        let name = Filename::sanitize("new.bin");
        batch.start_file(name, Mimetype::absent()).await.unwrap();
        batch.write(&vec![1; 100_000]).await.unwrap();
        batch.finish_file().await.unwrap();
    }
    batch.publish().await.unwrap();
    assert!(seen().iter().any(|run| run.sql.contains("INTO bundles")));
    check("publishing a bundle", FEW);
    let message = NewActivity::message(workspace, "message/send", Value::Null);
    it.feed.append(workspace, message).await.unwrap();
    check("sending a message", FEW);
}

/// What waits for a workspace is counted for its quota when the bound of it would pass that.
async fn counts_what_waits(it: &Million, workspace: WorkspaceId) {
    let raise = |connection: &Connection| {
        let sql = "UPDATE feed_counters SET waiting_files = ?1";
        connection.execute(sql, [u32::MAX])?;
        Ok(())
    };
    let writer = it.database.writer();
    writer.write(Promise::BestEffort, raise).await.unwrap();
    seen().clear();
    let name = Filename::sanitize("new.bin");
    let staged = it.files.stage(workspace, name, Mimetype::absent(), b"x");
    staged.await.unwrap();
    assert!(seen().iter().any(|run| run.sql.contains("count(*)")));
    check("counting what waits", 2_000_000);
}

async fn hands_files_over(it: &Million, workspace: WorkspaceId) {
    let page = it.files.list(workspace, None, 500).await.unwrap();
    check("listing", FEW);
    let last = page.last().unwrap();
    let after = Some(ListAfter::from(last));
    it.files.list(workspace, after, 500).await.unwrap();
    check("listing further", FEW);
    let range = ByteRange::new(0, last.size_bytes).unwrap();
    let mut stream = it.files.read(workspace, last.file_id, range).await.unwrap();
    while let Some(piece) = stream.next().await {
        piece.unwrap();
    }
    check("fetching", FEW);
    it.files.get(workspace, last.file_id).await.unwrap();
    check("looking up", FEW);
    let small = page.first().unwrap();
    let opened = it.files.open(workspace, small.file_id).await.unwrap();
    assert!(opened.bytes.is_some());
    check("opening", FEW);
    it.files
        .mark_fetched(workspace, last.file_id)
        .await
        .unwrap();
    check("noting a fetch", FEW);
    for _ in 0..2 {
        it.files.ack(workspace, last.file_id).await.unwrap();
        check("acking", FEW);
    }
}

fn inbox(start: FeedStart) -> ActivityQuery {
    ActivityQuery {
        activity_type: Some(ActivityType::A2A_RECEIVE),
        ..ActivityQuery::from_start(start)
    }
}

async fn reads_feeds(it: &Million) {
    let after = FeedStart::After(it.row_of(SMALL, 50).await);
    for start in [after, FeedStart::Oldest, FeedStart::Newest] {
        for query in [ActivityQuery::from_start(start), inbox(start)] {
            assert!(it.page(SMALL, &query).await > 0);
            check("polling", FEW);
        }
    }
}

async fn reads_a_long_feed(it: &Million) {
    let start = FeedStart::After(it.row_of(LARGE, 400_000).await);
    for source in [Source::Canvas, Source::Agent] {
        let query = ActivityQuery {
            activity_type: Some("nobodys".parse().unwrap()),
            source: Some(source),
            ..ActivityQuery::from_start(start)
        };
        // The first look has to read it all; it does so once.
        assert_eq!(it.page(LARGE, &query).await, 0, "{source:?}");
        seen().clear();
        let before = most_steps_of(it, &query).await;
        assert!(before < FEW, "polling again takes {before} steps");
    }
    let (day, hour) = (Duration::from_hours(24), Duration::from_hours(1));
    for start in [FeedStart::Newest, FeedStart::Oldest, start] {
        let query = ActivityQuery {
            created_since: Some(NOW.saturating_sub(day * 3)),
            created_before: Some(NOW.saturating_sub(day * 3).saturating_add(hour)),
            limit: PageSize::capped(500).unwrap(),
            ..ActivityQuery::from_start(start)
        };
        let steps = most_steps_of(it, &query).await;
        assert!(steps < FEW * 2, "an hour of the feed takes {steps} steps");
    }
}

/// The steps of one more run of the query: a connection's count goes on from run to run, and the
/// one that has just read is the one that reads next.
async fn most_steps_of(it: &Million, query: &ActivityQuery) -> i32 {
    let most = || seen().drain(..).map(|run| run.steps).max().unwrap();
    it.page(LARGE, query).await;
    let before = most();
    it.page(LARGE, query).await;
    most() - before
}

async fn keeps_house(it: &Million) {
    seen().clear();
    let policy = SweepPolicy::default();
    let swept = it.files.sweep(&policy).await.unwrap();
    assert!(
        seen()
            .iter()
            .any(|run| run.sql.starts_with("UPDATE bundles"))
    );
    check("sweeping", FEW);
    let of = |reason| swept.files.iter().filter(|f| f.reason == reason).count();
    assert!(of(SweepReason::Acked) >= 100 && of(SweepReason::Expired) >= 100);
    let horizon = NOW.saturating_sub(policy.feed_retention);
    assert!(it.feed.prune(horizon).await.unwrap() > 0);
    check("pruning", FEW * 2);
    let stats = it.files.stats().await.unwrap();
    check("counting", A_COUNT);
    assert!(stats.waiting_files.abs_diff(990_000) < 20_000, "{stats:?}");
}
