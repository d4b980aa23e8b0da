//! An open data folder: one writer, several readers, and the batches that are on their way in.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Weak};

use log::info;
use pending_uploads_core::{FeedSignals, FileId, Hearing, KnownWorkspaces, WorkspaceId};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::bundle::Writing;
use crate::error::{OpenError, SqliteError};
use crate::fetch_notes::FetchNotes;
use crate::file_writers::FileWriters;
use crate::folder::Folder;
use crate::readers::Readers;
use crate::rows::Id;
use crate::schema;
use crate::staged::StagedBatches;
use crate::writer::{Place, Promise, Writer};

/// `auto_vacuum` counts only before the first table is made. A write-ahead log that grew is cut back
/// when it is next empty. On macOS, and only there, a sync that reaches the disk's own memory only is
/// another call than one that reaches the disk.
const WRITER_PRAGMAS: &str = "PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON; \
     PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; \
     PRAGMA foreign_keys = ON; PRAGMA journal_size_limit = 16777216; PRAGMA cache_size = -2048;";

/// Whether there is a file beside the database that has this name.
const NEEDED: &str = "SELECT 1 FROM pending_uploads \
         WHERE file_id = ?1 AND placement = 'file' AND bundle_id IS NULL \
     UNION ALL SELECT 1 FROM bundles WHERE id = ?1";

/// A data folder that the traits are implemented on. Clones share everything.
///
/// The folder is this process's alone until the last clone is dropped and its last work is done.
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

struct Inner {
    folder: Arc<Folder>,
    writer: Writer,
    readers: Readers,
    staged: StagedBatches,
    file_writers: FileWriters,
    signals: FeedSignals,
    known: KnownWorkspaces,
    fetch_notes: FetchNotes,
    runtime: Handle,
    /// Ends when nobody has the folder any more.
    let_go: watch::Receiver<()>,
}

/// A data folder that may have been closed meanwhile.
pub(crate) struct WeakDatabase(Weak<Inner>);

impl WeakDatabase {
    /// The folder, if it is not closed.
    pub(crate) fn upgrade(&self) -> Option<Database> {
        self.0.upgrade().map(|inner| Database { inner })
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("folder", &self.inner.folder.path())
            .finish_non_exhaustive()
    }
}

impl Database {
    /// Opens a data folder, which is made if it does not exist; brings its schema up to date, and
    /// deletes what uploads that a crash cut off have left. It blocks while it does.
    ///
    /// # Errors
    /// Every variant of [`OpenError`].
    ///
    /// # Panics
    /// When it is called outside of a tokio runtime.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_watched(path, |_| ())
    }

    /// As [`open`](Self::open); `watch` is called with each connection before it is used.
    pub(crate) fn open_watched(path: &Path, watch: fn(&mut Connection)) -> Result<Self, OpenError> {
        let runtime = Handle::current();
        let folder = Arc::new(Folder::open(path)?);
        let unusable = |reason: String| OpenError::Database {
            path: folder.path().to_owned(),
            reason,
        };
        let mut connection = open_writer(&folder)?;
        watch(&mut connection);
        delete_orphans(&folder, &connection).map_err(|error| unusable(error.to_string()))?;
        let readers = Readers::open(&folder.database(), runtime.clone(), watch)
            .map_err(|error| unusable(error.to_string()))?;
        let let_go = folder.let_go();
        let writer = Writer::start(connection, Arc::clone(&folder))
            .map_err(|error| unusable(error.to_string()))?;
        let inner = Inner {
            staged: StagedBatches::new(Arc::clone(&folder), runtime.clone()),
            file_writers: FileWriters::default(),
            folder,
            writer,
            readers,
            signals: FeedSignals::new(),
            known: told_of_changes(),
            fetch_notes: FetchNotes::default(),
            runtime,
            let_go,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Looks whether the database can be read, and whether the writing thread is there.
    ///
    /// # Errors
    /// [`Unavailable`](pending_uploads_core::Error::Unavailable),
    /// [`Backend`](pending_uploads_core::Error::Backend).
    pub async fn check(&self) -> pending_uploads_core::Result<()> {
        let look = |connection: &Connection| {
            let mut one = connection.prepare_cached("SELECT 1 FROM feed_counters LIMIT 1")?;
            one.exists([])?;
            Ok(())
        };
        self.readers().read(look).await?;
        Ok(self.writer().write(Promise::BestEffort, |_| Ok(())).await?)
    }

    /// Answers when the folder is closed and may be opened again: when the last clone was dropped, and
    /// every batch and stream of bytes, its last work is done, and everything is in the database
    /// itself, unless somebody outside keeps the log from being cut. A process that ends without
    /// waiting for it loses nothing, and leaves the log to the next one. The future holds no clone; it
    /// may be dropped at any time.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut let_go = self.inner.let_go.clone();
        async move { while let_go.changed().await.is_ok() {} }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.inner.folder.path()
    }

    pub(crate) fn folder(&self) -> &Arc<Folder> {
        &self.inner.folder
    }

    pub(crate) fn writer(&self) -> &Writer {
        &self.inner.writer
    }

    pub(crate) fn readers(&self) -> &Readers {
        &self.inner.readers
    }

    pub(crate) fn staged(&self) -> &StagedBatches {
        &self.inner.staged
    }

    pub(crate) fn file_writers(&self) -> &FileWriters {
        &self.inner.file_writers
    }

    pub(crate) fn signals(&self) -> &FeedSignals {
        &self.inner.signals
    }

    /// What was lately looked up of workspaces.
    pub(crate) fn known(&self) -> &KnownWorkspaces {
        &self.inner.known
    }

    pub(crate) fn fetch_notes(&self) -> &FetchNotes {
        &self.inner.fetch_notes
    }

    /// A handle that does not keep the folder open.
    pub(crate) fn downgrade(&self) -> WeakDatabase {
        WeakDatabase(Arc::downgrade(&self.inner))
    }

    /// Runs small work that adds to the feed of `workspace`, if there is room on the disk, and wakes
    /// whoever waits for that feed. A dropped future leaves all of it done, or nothing.
    pub(crate) async fn write_to_feed<T, F>(
        &self,
        place: Place,
        workspace: WorkspaceId,
        mut work: F,
    ) -> Result<T, SqliteError>
    where
        T: Send + 'static,
        F: FnMut(&Writing<'_>) -> Result<T, SqliteError> + Send + 'static,
    {
        let folder = Arc::clone(self.folder());
        let work = move |writing: &Writing<'_>| {
            folder.check_room()?;
            work(writing)
        };
        let signals = self.signals().clone();
        let wake = move || signals.signal(workspace);
        self.writer()
            .write_then(place, Promise::Durable, work, wake)
            .await
    }

    /// Runs work that must not be cut off by a caller that goes away.
    pub(crate) async fn run<T, F>(&self, work: F) -> Result<T, SqliteError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, SqliteError>> + Send + 'static,
    {
        self.inner
            .runtime
            .spawn(work)
            .await
            .map_err(|_| SqliteError::Closed)?
    }

    /// Starts work that may be waited for later.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.inner.runtime.spawn(work)
    }

    /// Runs work on files, on a thread that may block.
    pub(crate) async fn blocking<T, F>(&self, work: F) -> Result<T, SqliteError>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, SqliteError> + Send + 'static,
    {
        self.begin_blocking(work)
            .await
            .map_err(|_| SqliteError::Closed)?
    }

    /// Begins work on files, on a thread that may block.
    pub(crate) fn begin_blocking<T, F>(&self, work: F) -> JoinHandle<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.inner.runtime.spawn_blocking(work)
    }
}

/// All that changes a workspace goes through this process, which has the folder to itself.
fn told_of_changes() -> KnownWorkspaces {
    let known = KnownWorkspaces::default();
    known.forget_all(Hearing::Listening);
    known
}

fn open_writer(folder: &Folder) -> Result<Connection, OpenError> {
    let path = folder.path();
    let unusable = |reason: String| OpenError::Database {
        path: path.to_owned(),
        reason,
    };
    let mut connection =
        Connection::open(folder.database()).map_err(|error| unusable(error.to_string()))?;
    let found = version(&connection).map_err(|error| unusable(error.to_string()))?;
    if found > schema::NEWEST {
        return Err(OpenError::Newer {
            path: path.to_owned(),
            found,
            known: schema::NEWEST,
        });
    }
    prepare(&connection).map_err(|error| unusable(error.to_string()))?;
    schema::migrate(&mut connection).map_err(|error| unusable(schema::reason(&error)))?;
    Ok(connection)
}

/// Asks for the version in such a way that the database of a newer program, and its log, stay as
/// they are when the connection is dropped now.
fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    schema::version(connection)
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    plan_once(connection)?;
    connection.execute_batch(WRITER_PRAGMAS)
}

/// Has statements planned when they are prepared, and not again with each value that is bound to their
/// `LIMIT`: a poll took three times as long for that.
pub(crate) fn plan_once(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Nobody else has the folder open, and no upload is under way yet: a file that no row names is
/// nobody's.
fn delete_orphans(folder: &Folder, connection: &Connection) -> Result<(), SqliteError> {
    let mut select = connection.prepare(NEEDED)?;
    let deleted = folder.delete_orphans(|file: FileId| -> Result<bool, SqliteError> {
        Ok(select
            .query_row([Id(file.as_uuid())], |_| Ok(()))
            .optional()?
            .is_some())
    })?;
    if deleted > 0 {
        info!(files = deleted; "deleted what cut-off uploads had left");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::future::poll_immediate;
    use tokio::sync::oneshot;

    use super::*;

    const INSERT: &str = "INSERT INTO workspaces (id, delivery_mode, inbound_secret, \
             token_sha256, created_at, updated_at) \
         VALUES (zeroblob(16), 'poll', '', zeroblob(32), 0, 0)";

    async fn workspaces(database: &Database) -> i64 {
        let work = |connection: &Connection| {
            let count = "SELECT count(*) FROM workspaces";
            Ok(connection.query_row(count, [], |row| row.get(0))?)
        };
        database.readers().read(work).await.unwrap()
    }

    #[tokio::test]
    async fn a_folder_is_closed_when_nobody_has_it_any_more() {
        let parent = tempfile::tempdir().unwrap();
        let database = Database::open(parent.path()).unwrap();
        let mut closed = Box::pin(database.closed());
        // As work on its files does that somebody has stopped waiting for.
        let folder = Arc::clone(database.folder());
        drop(database);
        while Arc::strong_count(&folder) > 1 {
            tokio::task::yield_now().await;
        }
        assert!(poll_immediate(&mut closed).await.is_none());
        drop(folder);
        closed.await;
        Database::open(parent.path()).unwrap();
    }

    #[tokio::test]
    async fn those_who_read_do_not_wait_for_a_transaction_that_is_under_way() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).unwrap();
        let (tell, wrote) = oneshot::channel();
        let (release, released) = mpsc::channel::<()>();
        let writer = database.writer().clone();
        let writing = tokio::spawn(async move {
            let work = move |connection: &Connection| {
                connection.execute_batch(INSERT)?;
                let told = tell.send(());
                Ok(told.is_ok() && released.recv().is_ok())
            };
            writer.write_once(Promise::Durable, work).await
        });
        wrote.await.unwrap();
        // More of them than there are connections.
        let many = (0..50).map(|_| workspaces(&database));
        let seen = futures_util::future::join_all(many).await;
        assert_eq!(seen, [0; 50]);
        drop(release);
        writing.await.unwrap().unwrap();
        assert_eq!(workspaces(&database).await, 1);
    }

    #[tokio::test]
    async fn on_a_full_disk_uploads_and_messages_are_refused_and_acks_and_sweeps_are_not() {
        use std::sync::Arc;
        use std::time::Duration;

        use pending_uploads_core::{
            ActivityLog, Error, Filename, ManualClock, Mimetype, NewActivity, Storage,
            StorageConfig, StorageExt, SweepPolicy, Timestamp,
        };

        use crate::{SqliteActivityLog, SqliteStorage, testing};

        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).unwrap();
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_micros(0)));
        let files = SqliteStorage::new(&database, StorageConfig::default(), clock.clone());
        let feed = SqliteActivityLog::new(&database, clock.clone());
        let id = testing::workspace(&database, &clock).await;
        let stage = async |data: &[u8]| {
            let name = Filename::sanitize("x");
            files.stage(id, name, Mimetype::absent(), data).await
        };
        let kept = stage(&vec![1; 3_000_000]).await.unwrap();

        database.folder().reserve(u64::MAX);
        for size in [1, 3_000_000] {
            let refused = stage(&vec![2; size]).await;
            assert!(
                matches!(refused, Err(Error::Unavailable { .. })),
                "{refused:?}"
            );
        }
        let message = || NewActivity::message(id, "message/send", serde_json::Value::Null);
        let refused = feed.append(id, message()).await;
        assert!(
            matches!(refused, Err(Error::Unavailable { .. })),
            "{refused:?}"
        );
        files.ack(id, kept.file_id).await.unwrap();
        clock.advance(Duration::from_hours(2));
        let swept = files.sweep(&SweepPolicy::default()).await.unwrap();
        assert_eq!(swept.files.len(), 1);

        database.folder().reserve(0);
        stage(b"there is room again").await.unwrap();
        feed.append(id, message()).await.unwrap();
    }
}
