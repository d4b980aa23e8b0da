//! A data folder that is moved: all of it arrives, or nothing does.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pending_uploads_core::contract::moving::Stock;
use pending_uploads_core::contract::{Instance, Subject, Terms};
use pending_uploads_core::{
    Archive, CheckedBytes, CopyError, Error, Restoration, StoreTotals, Timestamp, copy_store,
};
use pending_uploads_sqlite::{
    ArchiveError, Database, OpenError, SqliteActivityLog, SqliteArchive, SqliteRestoration,
    SqliteStorage, SqliteWorkspaces, StorageConfig,
};
use tempfile::TempDir;

/// How often a folder is looked at that is about to be let go, and how long in between.
const LOOKS: u32 = 1000;
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Opens a folder; whoever had it may still be closing it.
async fn once_free<T>(mut open: impl AsyncFnMut() -> Result<T, ArchiveError>) -> T {
    for _ in 0..LOOKS {
        match open().await {
            Err(ArchiveError::Open(OpenError::InUse { .. })) => {
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
            opened => return opened.unwrap(),
        }
    }
    unreachable!("the folder stays in use")
}

async fn subject(folder: &Path, terms: &Terms) -> Subject {
    let database = once_free(async || Ok(Database::open(folder)?)).await;
    let clock = terms.clock.clone();
    let instance = Instance {
        storage: Arc::new(SqliteStorage::new(
            &database,
            StorageConfig {
                quota: terms.quota,
                ..StorageConfig::default()
            },
            clock.clone(),
        )),
        activity: Arc::new(SqliteActivityLog::new(&database, clock.clone())),
        workspaces: Arc::new(SqliteWorkspaces::new(&database, clock)),
    };
    Subject::new(terms.clone(), instance.clone(), instance)
}

/// A folder that holds something of everything.
async fn stocked(terms: &Terms) -> (TempDir, Stock) {
    let folder = tempfile::tempdir().unwrap();
    let stock = Stock::fill(&subject(folder.path(), terms).await).await;
    (folder, stock)
}

async fn archive(folder: &Path) -> SqliteArchive {
    once_free(async || SqliteArchive::open(folder)).await
}

async fn restoration(folder: &Path) -> Box<dyn Restoration> {
    Box::new(once_free(async || SqliteRestoration::begin(folder).await).await)
}

async fn copy(from: &Path, to: &Path, now: Timestamp) -> Result<StoreTotals, CopyError> {
    let (from, to) = (archive(from).await, restoration(to).await);
    copy_store(&from, to, now, &mut |_| {}).await
}

async fn assert_empty(folder: &Path) {
    let archive = archive(folder).await;
    let totals = archive.totals(Timestamp::from_micros(0)).await.unwrap();
    assert_eq!(totals, StoreTotals::default());
    let files = fs::read_dir(folder.join("files")).unwrap();
    assert_eq!(files.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_was_moved_serves_on() {
    let terms = Terms::default();
    let (from, stock) = stocked(&terms).await;
    let to = tempfile::tempdir().unwrap();
    let totals = copy(from.path(), to.path(), stock.now()).await.unwrap();
    assert_eq!((totals.workspaces, totals.files), (3, 6));
    stock.check(&subject(to.path(), &terms).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_moved_counts_towards_the_quota() {
    let terms = Terms::default();
    let (from, stock) = stocked(&terms).await;
    let to = tempfile::tempdir().unwrap();
    copy(from.path(), to.path(), stock.now()).await.unwrap();
    let terms = Terms {
        quota: stock.used_up_quota(),
        ..terms
    };
    stock
        .check_used_up_quota(&subject(to.path(), &terms).await)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_read_page_by_page() {
    let (from, _) = stocked(&Terms::default()).await;
    Stock::pages_make_the_whole(&archive(from.path()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_do_not_move_are_not_stored() {
    let terms = Terms::default();
    let (from, stock) = stocked(&terms).await;
    let to = tempfile::tempdir().unwrap();
    copy(from.path(), to.path(), stock.now()).await.unwrap();
    let files = fs::read_dir(to.path().join("files")).unwrap();
    assert_eq!(files.count(), 2, "the two larger ones that wait");
    let database = rusqlite::Connection::open(to.path().join("pending-uploads.sqlite3")).unwrap();
    let rows = database.query_row("SELECT count(*) FROM pending_upload_bytes", [], |row| {
        row.get::<_, i64>(0)
    });
    assert_eq!(rows.unwrap(), 2, "the two smaller ones");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_holds_something_is_not_filled() {
    let terms = Terms::default();
    let (from, stock) = stocked(&terms).await;
    let refused = once_free(async || match SqliteRestoration::begin(from.path()).await {
        Err(ArchiveError::NotEmpty { path }) => Ok(path),
        other => other.map(|_| unreachable!("it was filled again")),
    });
    assert_eq!(refused.await, from.path().canonicalize().unwrap());
    let subject = subject(from.path(), &terms).await;
    stock.check(&subject).await;
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_not_made_to_be_read() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("typo");
    let error = SqliteArchive::open(&folder).unwrap_err();
    assert!(matches!(error, ArchiveError::Missing { .. }), "{error:?}");
    assert!(!folder.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restoration_that_does_not_finish_leaves_nothing() {
    let terms = Terms::default();
    let (from, stock) = stocked(&terms).await;
    let from = archive(from.path()).await;
    let uploads = from.uploads(None, 100).await.unwrap();
    let to = tempfile::tempdir().unwrap();
    for cut_off in 0..=uploads.len() {
        let mut filling = restoration(to.path()).await;
        for workspace in from.workspaces(None, 100).await.unwrap() {
            filling = filling.put_workspace(workspace).await.unwrap();
        }
        for upload in uploads.iter().take(cut_off) {
            let bytes = if upload.is_waiting_at(stock.now()) {
                Some(CheckedBytes::new(upload, from.read(upload).await.unwrap()))
            } else {
                None
            };
            filling = filling.put_upload(upload.clone(), bytes).await.unwrap();
        }
        drop(filling);
        assert_empty(to.path()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_bytes_stop_the_move_and_leave_nothing() {
    let terms = Terms::default();
    let (from, stock) = stocked(&terms).await;
    let largest = fs::read_dir(from.path().join("files"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .max_by_key(|entry| entry.metadata().unwrap().len())
        .unwrap();
    let mut bytes = fs::read(largest.path()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(largest.path(), bytes).unwrap();
    let to = tempfile::tempdir().unwrap();
    let error = copy(from.path(), to.path(), stock.now()).await.unwrap_err();
    let CopyError::File { file_id, source } = error else {
        unreachable!("{error:?}");
    };
    assert_eq!(file_id.to_string(), *largest.file_name().to_str().unwrap());
    assert!(matches!(source, Error::Integrity { .. }), "{source:?}");
    assert_empty(to.path()).await;
}
