//! Notes that files were fetched, gathered for a moment: no request waits for them, and each by itself
//! would wake the writing thread and be a transaction.
//!
//! A file that is acked within that moment is not noted any more.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pending_uploads_core::{FileId, Timestamp, WorkspaceId};
use rusqlite::Connection;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::database::{Database, WeakDatabase};
use crate::error::SqliteError;
use crate::rows::key;
use crate::writer::Promise;

/// How long the first note waits for others.
const GATHERING: Duration = Duration::from_millis(5);

const MARK_FETCHED: &str = "UPDATE pending_uploads SET fetched_at = ?3 \
     WHERE file_id = ?1 AND workspace_id = ?2 AND acked_at IS NULL AND expires_at > ?3";

/// A file of a workspace was handed over at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FetchNote {
    pub(crate) workspace: WorkspaceId,
    pub(crate) file: FileId,
    pub(crate) at: Timestamp,
}

/// Notes that are not written yet.
#[derive(Debug, Default)]
pub(crate) struct FetchNotes(Mutex<Vec<Waiting>>);

#[derive(Debug)]
struct Waiting {
    note: FetchNote,
    tell: oneshot::Sender<Result<(), SqliteError>>,
}

/// Writes a note, with those that come within [`GATHERING`], and returns when that is done. A dropped
/// future leaves it written or not.
pub(crate) async fn write(database: &Database, note: FetchNote) -> Result<(), SqliteError> {
    let (tell, told) = oneshot::channel();
    let is_first = {
        let mut notes = database.fetch_notes().waiting();
        notes.push(Waiting { note, tell });
        notes.len() == 1
    };
    if is_first {
        let gathering = Gathering(Some(database.downgrade()));
        drop(database.spawn(gathering.end()));
    }
    told.await.map_err(|_| SqliteError::Closed)?
}

/// What waits for more notes, and then writes all of them. A database that is closed meanwhile is not
/// kept open for them.
struct Gathering(Option<WeakDatabase>);

impl Gathering {
    async fn end(mut self) {
        sleep(GATHERING).await;
        if let Some(database) = self.0.take().and_then(|weak| weak.upgrade()) {
            write_gathered(&database).await;
        }
    }
}

/// Whoever waits for notes that will not be written is told so: the runtime has been shut down.
impl Drop for Gathering {
    fn drop(&mut self) {
        if let Some(database) = self.0.take().and_then(|weak| weak.upgrade()) {
            drop(database.fetch_notes().take());
        }
    }
}

async fn write_gathered(database: &Database) {
    let waiting = database.fetch_notes().take();
    let notes = waiting.iter().map(|waiting| waiting.note).collect();
    let written = write_all(database, notes).await;
    for Waiting { note, tell } in waiting {
        let written = match &written {
            Ok(()) => Ok(()),
            // Each finds out for itself what is wrong.
            Err(_) => write_all(database, vec![note]).await,
        };
        // Whoever has gone away need not know.
        drop(tell.send(written));
    }
}

async fn write_all(database: &Database, notes: Vec<FetchNote>) -> Result<(), SqliteError> {
    let work = move |connection: &Connection| {
        let mut statement = connection.prepare_cached(MARK_FETCHED)?;
        for note in &notes {
            statement.execute(key(note.workspace, note.file, note.at))?;
        }
        Ok(())
    };
    database.writer().write(Promise::BestEffort, work).await
}

impl FetchNotes {
    /// The next note is then the first.
    fn take(&self) -> Vec<Waiting> {
        std::mem::take(&mut self.waiting())
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use futures_util::poll;
    use pending_uploads_core::{Clock, SystemClock};

    use super::*;
    use crate::testing::workspace;

    static COMMITS: AtomicUsize = AtomicUsize::new(0);

    fn count_commits(connection: &mut Connection) {
        let count = || {
            COMMITS.fetch_add(1, Ordering::Relaxed);
            false
        };
        connection.commit_hook(Some(count)).unwrap();
    }

    fn note(workspace: WorkspaceId) -> FetchNote {
        FetchNote {
            workspace,
            file: FileId::generate(),
            at: SystemClock.now(),
        }
    }

    #[tokio::test]
    async fn notes_that_come_together_are_written_by_one_transaction() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open_watched(folder.path(), count_commits).unwrap();
        let workspace = workspace(&database, &Arc::new(SystemClock)).await;
        let before = COMMITS.load(Ordering::Relaxed);
        let mut written = pin!(join_all(
            (0..100).map(|_| write(&database, note(workspace)))
        ));
        assert!(poll!(&mut written).is_pending());
        assert_eq!(database.fetch_notes().waiting().len(), 100);
        assert!(written.await.iter().all(Result::is_ok));
        assert_eq!(COMMITS.load(Ordering::Relaxed) - before, 1);
    }

    #[tokio::test]
    async fn a_note_that_waits_does_not_keep_a_folder_open() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).unwrap();
        let workspace = workspace(&database, &Arc::new(SystemClock)).await;
        {
            let mut written = pin!(write(&database, note(workspace)));
            assert!(poll!(&mut written).is_pending());
        }
        let weak = database.downgrade();
        drop(database);
        assert!(weak.upgrade().is_none());
    }

    #[test]
    fn a_note_whose_runtime_ends_is_told_so_and_the_next_one_too() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let database = {
            let _entered = runtime.enter();
            Database::open(folder.path()).unwrap()
        };
        runtime.shutdown_background();
        let elsewhere = tokio::runtime::Runtime::new().unwrap();
        for _ in 0..2 {
            let note = note(WorkspaceId::generate());
            let outcome = elsewhere.block_on(write(&database, note));
            assert!(matches!(outcome, Err(SqliteError::Closed)), "{outcome:?}");
        }
    }
}
