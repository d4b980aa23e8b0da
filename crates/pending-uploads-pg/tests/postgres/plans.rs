//! What a million files cost: each statement that the crate really sends is planned, run and counted
//! on a large database, by the server itself (`auto_explain`). None scans a table, and none touches
//! more pages than a bound says, which is no clock. With the plans of tables that the server knows, and
//! with those that it made when they were empty.

use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use log::{LevelFilter, Log, Metadata, Record};
use pending_uploads_core::{
    ActivityId, ActivityLog, ActivityQuery, ActivityType, ByteRange, FeedStart, FileId, Filename,
    ListAfter, ManualClock, Mimetype, NewActivity, PageSize, Quota, Source, Storage, StorageExt,
    SweepPolicy, SweepReason, Timestamp, Token, WorkspaceId, Workspaces,
};
use pending_uploads_pg::{Database, PgActivityLog, PgStorage, PgWorkspaces, StorageConfig};
use pg_cluster::TestDatabase;
use serde_json::Value;
use tokio_postgres::Client;

use crate::support;

/// What it is filled with is thrown away, and need not be logged.
const UNLOGGED: &str = "SET fill.files = 1000000; ALTER TABLE activity SET UNLOGGED; \
     ALTER TABLE pending_uploads SET UNLOGGED; ALTER TABLE pending_upload_chunks SET UNLOGGED";
/// Which does not make the server plan anew, as to truncate them would.
const EMPTY: &str = "DELETE FROM pending_upload_chunks; DELETE FROM pending_uploads; \
     DELETE FROM activity; DELETE FROM workspaces";
const MILLION: &str = include_str!("million.sql");
/// The time that it is in there: 2026-01-01.
const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);
/// Rows of 500,000 that a filter lets pass none of; every other feed has about 25.
const LONG_FEED: &str = "workspace 0";

/// A statement that finds a row, a page of them or a file touches no more pages than this: of 8 KiB.
const FEW: u64 = 150;
/// As many as the bursts of 2.5 MB are written to.
const A_BURST: u64 = 2500;
/// As many as a step of 100 files, or 2,000 feed rows, has to delete, with their indexes.
const A_STEP: u64 = 25_000;

/// Tables that are as large as what is stored. Those with a row for each workspace are small beside
/// them: whether a step for hundreds of workspaces reads all of their pages or looks each one up is
/// for the planner to choose.
const LARGE: [&str; 3] = ["activity", "pending_uploads", "pending_upload_chunks"];

static SEEN: Mutex<Vec<Plan>> = Mutex::new(Vec::new());
static LISTENING: Once = Once::new();

/// How the server ran one statement.
#[derive(Debug)]
struct Plan {
    sql: String,
    root: Value,
}

impl Plan {
    /// Pages that were looked at, in memory or not.
    fn pages(&self) -> u64 {
        let count = |name| self.root[name].as_u64().unwrap();
        assert_eq!(count("Temp Read Blocks"), 0, "{} sorts on disk", self.sql);
        count("Shared Hit Blocks") + count("Shared Read Blocks")
    }

    fn scans(&self) -> Vec<&str> {
        let mut scanned = Vec::new();
        let mut nodes = vec![&self.root];
        while let Some(node) = nodes.pop() {
            nodes.extend(node["Plans"].as_array().into_iter().flatten());
            if node["Node Type"] == "Seq Scan" {
                scanned.extend(node["Relation Name"].as_str());
            }
        }
        scanned.retain(|table| LARGE.contains(table));
        scanned
    }
}

/// Takes the plans out of what the driver logs: the server sends them as notices.
struct Listener;

impl Log for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("tokio_postgres")
    }

    fn log(&self, record: &Record<'_>) {
        let message = record.args().to_string();
        let Some((_, plan)) = message.split_once("plan:\n") else {
            return;
        };
        let mut plan: Value = serde_json::from_str(plan).unwrap();
        let sql = plan["Query Text"].as_str().unwrap().to_owned();
        let root = plan["Plan"].take();
        seen().push(Plan { sql, root });
    }

    fn flush(&self) {}
}

fn seen() -> std::sync::MutexGuard<'static, Vec<Plan>> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has every connection from now on send the plans of its statements.
async fn explain(db: &Client, database: &TestDatabase) {
    LISTENING.call_once(|| {
        log::set_boxed_logger(Box::new(Listener)).unwrap();
        log::set_max_level(LevelFilter::Info);
    });
    let settings = [
        ("session_preload_libraries", "auto_explain"),
        ("auto_explain.log_min_duration", "0"),
        ("auto_explain.log_level", "notice"),
        ("auto_explain.log_format", "json"),
        ("auto_explain.log_analyze", "on"),
        ("auto_explain.log_buffers", "on"),
        ("auto_explain.log_timing", "off"),
        ("auto_explain.log_nested_statements", "on"),
    ];
    for (name, value) in settings {
        let name_of_database = database.name();
        let sql = format!("ALTER DATABASE {name_of_database} SET {name} = '{value}'");
        db.batch_execute(&sql).await.unwrap();
    }
}

/// The traits on the large database.
struct Million {
    files: PgStorage,
    feed: PgActivityLog,
    workspaces: PgWorkspaces,
    clock: Arc<ManualClock>,
    database: Database,
}

impl Million {
    fn connect(test_database: &TestDatabase) -> Self {
        let database = support::connect(test_database);
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
            files: PgStorage::new(&database, config, clock.clone()),
            feed: PgActivityLog::new(&database, clock.clone()),
            workspaces: PgWorkspaces::new(&database, clock.clone()),
            clock,
            database,
        }
    }

    async fn publish(&self, workspace: WorkspaceId, bytes: usize) -> FileId {
        let name = Filename::sanitize("new.bin");
        let data = vec![1; bytes];
        let staged = self.files.stage(workspace, name, Mimetype::absent(), &data);
        staged.await.unwrap().file_id
    }

    async fn page(&self, workspace: WorkspaceId, query: &ActivityQuery) -> usize {
        self.feed.list(workspace, query).await.unwrap().len()
    }
}

/// Checks what was sent since the last check: something, and nothing of it dear.
fn check(what: &str, most_pages: u64) {
    let plans: Vec<Plan> = seen().drain(..).collect();
    assert!(!plans.is_empty(), "{what} sent no statement");
    for plan in plans {
        let scanned = plan.scans();
        assert!(
            scanned.is_empty(),
            "{what} scans {scanned:?}:\n{}\n{:#}",
            plan.sql,
            plan.root
        );
        let pages = plan.pages();
        assert!(
            pages <= most_pages,
            "{what} touches {pages} pages, not {most_pages}:\n{}\n{:#}",
            plan.sql,
            plan.root
        );
    }
}

async fn workspace(db: &Client, name: &str) -> WorkspaceId {
    let row = db.query_one("SELECT md5($1)::uuid", &[&name]).await;
    WorkspaceId::from_uuid(row.unwrap().get(0))
}

/// A row of a feed, counted from its beginning.
async fn row_of(db: &Client, workspace: WorkspaceId, seq: i64) -> ActivityId {
    let sql = "SELECT id FROM activity WHERE workspace_id = $1 AND seq = $2";
    let row = db.query_one(sql, &[&workspace.as_uuid(), &seq]).await;
    ActivityId::from_uuid(row.unwrap().get(0))
}

fn query(start: FeedStart) -> ActivityQuery {
    ActivityQuery::from_start(start)
}

fn inbox(start: FeedStart) -> ActivityQuery {
    ActivityQuery {
        activity_type: Some(ActivityType::A2A_RECEIVE),
        ..query(start)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_scans_a_table_of_a_million_rows() {
    let test_database = support::migrated().await;
    let db = support::db_client(&test_database).await;
    db.batch_execute(UNLOGGED).await.unwrap();
    explain(&db, &test_database).await;
    let it = Million::connect(&test_database);
    // What is planned while the tables are empty is run when they are full, until the server has
    // analyzed them.
    let first = support::register(&it.database, it.clock.clone()).await;
    takes_files_and_hands_them_over(&it, first).await;
    db.batch_execute(EMPTY).await.unwrap();
    db.batch_execute(MILLION).await.unwrap();
    let busy = [
        workspace(&db, "workspace 7").await,
        workspace(&db, LONG_FEED).await,
    ];
    for workspace in busy {
        takes_files_and_hands_them_over(&it, workspace).await;
    }
    db.batch_execute("VACUUM (ANALYZE)").await.unwrap();
    for workspace in busy {
        takes_files_and_hands_them_over(&it, workspace).await;
    }
    reads_feeds(&it, &db).await;
    reads_a_long_feed(&it, &db).await;
    keeps_house(&it).await;
}

async fn takes_files_and_hands_them_over(it: &Million, workspace: WorkspaceId) {
    seen().clear();
    takes_files(it, workspace).await;
    hands_files_over(it, workspace).await;
}

async fn takes_files(it: &Million, workspace: WorkspaceId) {
    let token = Token::generate().unwrap();
    it.workspaces.authenticate(workspace, &token).await.unwrap();
    it.workspaces.get(workspace).await.unwrap();
    check("authenticating", FEW);
    // Its quota is held by a bound, and nothing is counted.
    it.publish(workspace, 1000).await;
    check("publishing a small file", FEW);
    it.publish(workspace, 2_500_000).await;
    check("publishing in bursts", A_BURST);
    let message = NewActivity::message(workspace, "message/send", Value::Null);
    it.feed.append(workspace, message).await.unwrap();
    check("sending a message", FEW);
}

async fn hands_files_over(it: &Million, workspace: WorkspaceId) {
    let page = it.files.list(workspace, None, 500).await.unwrap();
    check("listing", 1500);
    let last = page.last().unwrap();
    let after = Some(ListAfter::from(last));
    it.files.list(workspace, after, 500).await.unwrap();
    check("listing further", 1500);
    let range = ByteRange::new(0, last.size_bytes).unwrap();
    let mut stream = it.files.read(workspace, last.file_id, range).await.unwrap();
    while let Some(piece) = futures_util::StreamExt::next(&mut stream).await {
        piece.unwrap();
    }
    check("fetching", FEW);
    it.files.get(workspace, last.file_id).await.unwrap();
    check("looking up", FEW);
    let small = page.first().unwrap();
    let opened = it.files.open(workspace, small.file_id).await.unwrap();
    assert!(opened.bytes.is_some());
    check("opening", FEW);
    let noted = it.files.mark_fetched(workspace, last.file_id).await;
    noted.unwrap();
    check("noting a fetch", FEW);
    for _ in 0..2 {
        it.files.ack(workspace, last.file_id).await.unwrap();
        check("acking", FEW);
    }
}

/// Of feeds that are like most.
async fn reads_feeds(it: &Million, db: &Client) {
    let workspace = workspace(db, "workspace 9").await;
    let after = FeedStart::After(row_of(db, workspace, 12).await);
    for start in [after, FeedStart::Oldest, FeedStart::Newest] {
        for query in [query(start), inbox(start)] {
            assert!(it.page(workspace, &query).await > 0);
            check("polling", FEW);
        }
    }
    let end = query(FeedStart::After(row_of(db, workspace, 26).await));
    let waited = it.feed.wait(workspace, &end, Duration::from_millis(1));
    assert_eq!(waited.await.unwrap(), []);
    check("waiting", 20);
}

/// Of a feed with 500,000 rows that no inbox asks for.
async fn reads_a_long_feed(it: &Million, db: &Client) {
    let workspace = workspace(db, LONG_FEED).await;
    let day = Duration::from_hours(24);
    let start = FeedStart::After(row_of(db, workspace, 400_000).await);
    for source in [Source::Canvas, Source::Agent] {
        let query = ActivityQuery {
            activity_type: Some("nobodys".parse().unwrap()),
            source: Some(source),
            ..query(start)
        };
        // The first look has to read it all; it does so once.
        assert_eq!(it.page(workspace, &query).await, 0, "{source:?}");
        seen().clear();
        assert_eq!(it.page(workspace, &query).await, 0, "{source:?}");
        check("polling again what matches nothing", FEW);
    }
    for start in [FeedStart::Newest, FeedStart::Oldest, start] {
        let query = ActivityQuery {
            created_since: Some(NOW.saturating_sub(day * 3)),
            created_before: Some(NOW.saturating_sub(day * 3).saturating_add(day / 24)),
            limit: PageSize::capped(500).unwrap(),
            ..query(start)
        };
        assert!(it.page(workspace, &query).await > 400);
        check("asking for an hour of the feed", 300);
        let nothing = ActivityQuery {
            created_before: query.created_since,
            ..query
        };
        assert_eq!(it.page(workspace, &nothing).await, 0);
        check("asking for no time of the feed", 300);
    }
}

async fn keeps_house(it: &Million) {
    let policy = SweepPolicy::default();
    let swept = it.files.sweep(&policy).await.unwrap();
    check("sweeping", A_STEP);
    let of = |reason| swept.files.iter().filter(|f| f.reason == reason).count();
    assert!(of(SweepReason::Acked) >= 100 && of(SweepReason::Expired) >= 100);
    assert_eq!(of(SweepReason::Abandoned), 1);
    let horizon = NOW.saturating_sub(policy.feed_retention);
    assert!(it.feed.prune(horizon).await.unwrap() > 0);
    check("pruning", A_STEP);

    let stats = it.files.stats().await.unwrap();
    check("counting", 5000);
    let is_about = |count: u64, expected: u64| count.abs_diff(expected) < expected / 20;
    assert!(is_about(stats.waiting_files, 990_000), "{stats:?}");
    assert!(is_about(stats.unswept_files, 58_000), "{stats:?}");
}
