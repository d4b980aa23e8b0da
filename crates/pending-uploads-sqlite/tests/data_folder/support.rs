//! What the tests have in common: the platform on a data folder, and a look into its insides.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pending_uploads_core::{
    Activity, ActivityId, ActivityLog, ActivityQuery, Clock, FeedStart, FileId, Filename,
    ListAfter, ManualClock, Mimetype, NewActivity, PageSize, PendingUpload, Registrar,
    Registration, Storage, StorageExt, SweepPolicy, SweptFile, SystemClock, WorkspaceId,
    Workspaces,
};
use pending_uploads_sqlite::{
    Database, OpenError, SqliteActivityLog, SqliteStorage, SqliteWorkspaces, StorageConfig,
};
use rusqlite::{Connection, OpenFlags};

pub(crate) const KIB: usize = 1024;
pub(crate) const MIB: usize = 1024 * KIB;

/// Everything on one data folder, with a clock that stands still.
pub(crate) struct Platform {
    pub(crate) database: Database,
    pub(crate) storage: SqliteStorage,
    pub(crate) activity: SqliteActivityLog,
    pub(crate) workspaces: SqliteWorkspaces,
    pub(crate) clock: Arc<ManualClock>,
}

impl Platform {
    /// Opens the folder, as soon as whoever had it open before has let it go.
    pub(crate) async fn open(folder: &Path) -> Self {
        Self::on(&reopened(folder).await.unwrap())
    }

    /// Everything on a database that is open.
    pub(crate) fn on(database: &Database) -> Self {
        let clock = Arc::new(ManualClock::starting_at(SystemClock.now()));
        let handed_in: Arc<dyn Clock> = clock.clone();
        let config = StorageConfig::default();
        Self {
            database: database.clone(),
            storage: SqliteStorage::new(database, config, handed_in.clone()),
            activity: SqliteActivityLog::new(database, handed_in.clone()),
            workspaces: SqliteWorkspaces::new(database, handed_in),
            clock,
        }
    }

    /// Registers a workspace that polls.
    pub(crate) async fn workspace(&self) -> WorkspaceId {
        let id = WorkspaceId::generate();
        let registration = Registration::polling(id);
        self.workspaces
            .register(registration, Registrar::Anonymous)
            .await
            .unwrap();
        id
    }

    /// Publishes one file.
    pub(crate) async fn publish(&self, workspace: WorkspaceId, data: &[u8]) -> PendingUpload {
        publish(&self.storage, workspace, data).await
    }

    /// Publishes a batch of files of these bytes.
    pub(crate) async fn publish_all(
        &self,
        workspace: WorkspaceId,
        files: &[Vec<u8>],
    ) -> Vec<PendingUpload> {
        let mut batch = self.storage.begin(workspace).await.unwrap();
        for data in files {
            batch.start_file(name(), Mimetype::absent()).await.unwrap();
            batch.write(data).await.unwrap();
            batch.finish_file().await.unwrap();
        }
        batch.publish().await.unwrap()
    }

    /// The bytes of a waiting file.
    pub(crate) async fn bytes(
        &self,
        upload: &PendingUpload,
    ) -> pending_uploads_core::Result<Vec<u8>> {
        self.read(upload.workspace_id, upload.file_id).await
    }

    /// The bytes of a file, if it may be read.
    pub(crate) async fn read(
        &self,
        workspace: WorkspaceId,
        file: FileId,
    ) -> pending_uploads_core::Result<Vec<u8>> {
        self.storage.read_whole(workspace, file, u64::MAX).await
    }

    /// Acks files, all at once.
    pub(crate) async fn ack(&self, uploads: &[PendingUpload]) {
        let acks = uploads
            .iter()
            .map(|upload| self.storage.ack(upload.workspace_id, upload.file_id));
        futures_util::future::try_join_all(acks).await.unwrap();
    }

    /// Lets the retention of acked files pass, and sweeps until nothing is left to sweep.
    pub(crate) async fn sweep_acked(&self) -> Vec<SweptFile> {
        self.clock.advance(SweepPolicy::default().ack_retention);
        self.sweep().await
    }

    /// Sweeps until nothing is left to sweep.
    pub(crate) async fn sweep(&self) -> Vec<SweptFile> {
        let mut files = Vec::new();
        loop {
            let step = self.storage.sweep(&SweepPolicy::default()).await.unwrap();
            if step.is_dry() {
                return files;
            }
            files.extend(step.files);
        }
    }

    /// Everything that the workspace has still to take.
    pub(crate) async fn waiting(&self, workspace: WorkspaceId) -> Vec<PendingUpload> {
        let mut waiting: Vec<PendingUpload> = Vec::new();
        loop {
            let after = waiting.last().map(ListAfter::from);
            let page = self.storage.list(workspace, after, 1000).await.unwrap();
            if page.is_empty() {
                return waiting;
            }
            waiting.extend(page);
        }
    }

    /// The rows of the workspace's feed after one of them, oldest first.
    pub(crate) async fn feed_after(
        &self,
        workspace: WorkspaceId,
        first: ActivityId,
    ) -> Vec<Activity> {
        let mut rows: Vec<Activity> = Vec::new();
        loop {
            let cursor = rows.last().map_or(first, |row| row.id);
            let query = ActivityQuery {
                limit: PageSize::capped(u64::MAX).unwrap(),
                ..ActivityQuery::from_start(FeedStart::After(cursor))
            };
            let page = self.activity.list(workspace, &query).await.unwrap();
            if page.is_empty() {
                return rows;
            }
            rows.extend(page);
        }
    }

    /// Appends a message and answers its row: a cursor to begin with.
    pub(crate) async fn message(&self, workspace: WorkspaceId) -> Activity {
        let request = serde_json::json!({});
        let message = NewActivity::message(workspace, "message/send", request);
        self.activity.append(workspace, message).await.unwrap()
    }
}

/// Publishes one file.
pub(crate) async fn publish(
    storage: &SqliteStorage,
    workspace: WorkspaceId,
    data: &[u8],
) -> PendingUpload {
    storage
        .stage(workspace, name(), Mimetype::absent(), data)
        .await
        .unwrap()
}

pub(crate) fn name() -> Filename {
    Filename::sanitize("file.bin")
}

/// Opens a folder, as soon as whoever had it open before has let it go.
pub(crate) async fn reopened(folder: &Path) -> Result<Database, OpenError> {
    for _ in 0..400 {
        match Database::open(folder) {
            Err(OpenError::InUse { .. }) => tokio::time::sleep(Duration::from_millis(25)).await,
            opened => return opened,
        }
    }
    panic!("the folder is never let go");
}

/// Closes everything that has the folder open, and returns when it is closed.
pub(crate) async fn close(platform: Platform) {
    let folder = platform.database.path().to_owned();
    drop(platform);
    let lock = fs::File::open(folder.join("lock")).unwrap();
    until("the folder is let go", async || lock.try_lock().is_ok()).await;
}

/// Looks until `condition` holds; panics when it does not after some seconds of looking.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    for _ in 0..400 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("it never came to this: {what}");
}

/// Bytes without a pattern (xorshift): the same each time for one `seed`.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Where a folder's database is.
pub(crate) fn database_file(folder: &Path) -> PathBuf {
    folder.join("pending-uploads.sqlite3")
}

/// Where the write-ahead log of a folder's database is.
pub(crate) fn log_file(folder: &Path) -> PathBuf {
    folder.join("pending-uploads.sqlite3-wal")
}

/// Where a larger file's bytes are.
pub(crate) fn bytes_file(folder: &Path, file: FileId) -> PathBuf {
    folder.join("files").join(file.to_string())
}

/// How long a file is, in bytes; one that is not there has none.
pub(crate) fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |found| found.len())
}

/// What lies in `files`.
pub(crate) fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder.join("files"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// A connection of the test's own to a folder's database, which may also be open elsewhere.
pub(crate) fn inside(folder: &Path) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(database_file(folder), flags).unwrap()
}

/// The names of the files and bundles that the rows of a folder's database say are beside it.
pub(crate) fn placed_in_files(folder: &Path) -> BTreeSet<String> {
    let connection = inside(folder);
    let mut select = connection
        .prepare(
            "SELECT lower(hex(coalesce(bundle_id, file_id))) FROM pending_uploads \
             WHERE placement = 'file'",
        )
        .unwrap();
    let rows = select.query_map([], |row| row.get::<_, String>(0)).unwrap();
    rows.map(|hex| hex.unwrap().parse::<FileId>().unwrap().to_string())
        .collect()
}

/// Where the database says that a file's bytes are: `row`, `file` or `bundle`.
pub(crate) fn placement(folder: &Path, file: FileId) -> String {
    inside(folder)
        .query_row(
            "SELECT iif(bundle_id IS NULL, placement, 'bundle') FROM pending_uploads \
             WHERE file_id = ?1",
            [file.as_uuid().as_bytes().as_slice()],
            |row| row.get(0),
        )
        .unwrap()
}
