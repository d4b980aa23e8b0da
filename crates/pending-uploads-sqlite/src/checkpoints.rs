//! Copies the write-ahead log into the database while the writer goes on writing.
//!
//! SQLite itself copies a log that has become long within the commit that made it so: all who wait
//! for that commit, and for the next, wait for the copy, too. Here another thread copies nearly all
//! of it, and the writer only what was committed meanwhile, so that the log can begin anew.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use log::warn;
use rusqlite::Connection;
use rusqlite::hooks::Wal;

use crate::doubt::Doubt;
use crate::error::SqliteError;

/// After how many more pages in the log they are copied: SQLite's own measure.
const PASS_PAGES: u32 = 1_000;
/// From how many pages on the writer itself copies what is left.
const LAST_PAGES: u32 = 3_000;

/// Looks after the log of one connection, to which SQLite would otherwise look itself.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    /// How many pages are in the log.
    pages: Arc<AtomicU32>,
    next_pass: u32,
    next_last: u32,
    /// There is none for a database in memory, which has no log.
    helper: Option<Helper>,
    doubt: Doubt,
}

/// The other thread. Dropping this waits until it has ended.
#[derive(Debug)]
struct Helper {
    asks: Option<SyncSender<()>>,
    copying: Arc<Mutex<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    /// Looks after the log of the database that `connection` writes; alone, and after each
    /// [`PASS_PAGES`], when there can be no other thread.
    pub(crate) fn of(connection: &mut Connection, doubt: Doubt) -> Self {
        let pages = Arc::new(AtomicU32::new(0));
        let noted = note_pages(connection, &pages).map_err(SqliteError::from);
        let helper = noted.and_then(|()| Helper::start(connection, doubt.clone()));
        let helper = helper.unwrap_or_else(|error| {
            warn!(error:%; "the writer copies the write-ahead log alone");
            None
        });
        Self::with(pages, helper, doubt)
    }

    fn with(pages: Arc<AtomicU32>, helper: Option<Helper>, doubt: Doubt) -> Self {
        Self {
            pages,
            next_pass: PASS_PAGES,
            next_last: LAST_PAGES,
            helper,
            doubt,
        }
    }

    /// Has the log copied if it has grown: to be called between two transactions.
    pub(crate) fn check(&mut self, connection: &Connection) {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages < self.next_pass.saturating_sub(PASS_PAGES) {
            // It has begun anew.
            self.next_pass = PASS_PAGES;
            self.next_last = LAST_PAGES;
        }
        if pages < self.next_pass {
            return;
        }
        self.next_pass = pages.saturating_add(PASS_PAGES);
        match &self.helper {
            Some(helper) if pages < self.next_last => helper.ask(),
            _ => {
                // While somebody looks at an older state the log cannot begin anew, and grows on.
                self.next_last = self.next_pass;
                let _keeping_off = self.keep_off();
                copy(connection, &self.doubt);
            }
        }
    }

    /// Waits until the other thread has copied what it has begun to, and keeps it from more.
    pub(crate) fn keep_off(&self) -> Option<MutexGuard<'_, ()>> {
        let helper = self.helper.as_ref()?;
        Some(
            helper
                .copying
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

/// Has the length of the log noted with each commit, instead of what SQLite does by then.
fn note_pages(connection: &mut Connection, pages: &Arc<AtomicU32>) -> rusqlite::Result<()> {
    let pages = Arc::clone(pages);
    let note = move |_: &mut Wal, now| {
        pages.store(u32::try_from(now).unwrap_or(0), Ordering::Relaxed);
        Ok(())
    };
    connection.wal_hook(Some(note))
}

impl Helper {
    fn start(connection: &Connection, doubt: Doubt) -> Result<Option<Self>, SqliteError> {
        let Some(path) = connection.path().filter(|path| !path.is_empty()) else {
            return Ok(None);
        };
        let own = Connection::open(path)?;
        own.pragma_update(None, "checkpoint_fullfsync", true)?;
        let copying = Arc::new(Mutex::new(()));
        let (asks, asked) = sync_channel(1);
        let shared = Arc::clone(&copying);
        let thread = thread::Builder::new()
            .name("sqlite-checkpoint".to_owned())
            .spawn(move || copy_whenever_asked(&own, &asked, &shared, &doubt))?;
        Ok(Some(Self {
            asks: Some(asks),
            copying,
            thread: Some(thread),
        }))
    }

    /// Asks it to copy the log. If it was asked and has not begun yet, once is enough.
    fn ask(&self) {
        if let Some(asks) = &self.asks {
            let _already_asked = asks.try_send(());
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        drop(self.asks.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn copy_whenever_asked(
    connection: &Connection,
    asked: &Receiver<()>,
    copying: &Mutex<()>,
    doubt: &Doubt,
) {
    while asked.recv().is_ok() {
        let _copying = copying.lock().unwrap_or_else(PoisonError::into_inner);
        copy(connection, doubt);
    }
}

/// Copies what nobody who reads keeps from being copied, and waits for nobody.
fn copy(connection: &Connection, doubt: &Doubt) {
    if doubt.is_raised() {
        return;
    }
    let copied = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
    if let Err(error) = copied {
        doubt.note(&error);
        warn!(error:%; "the write-ahead log could not be copied into the database");
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    const PAGE_BYTES: u64 = 4096 + 24;

    fn open(folder: &Path) -> Connection {
        let connection = Connection::open(folder.join("t.sqlite3")).unwrap();
        connection
            .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (data BLOB)")
            .unwrap();
        connection
    }

    /// Commits so many pages, ten at a time.
    fn write(connection: &Connection, checkpoints: &mut Checkpoints, pages: u32) {
        for _ in 0..pages / 10 {
            connection
                .execute("INSERT INTO t VALUES (zeroblob(35000))", [])
                .unwrap();
            checkpoints.check(connection);
        }
    }

    fn pages_in_log(folder: &Path) -> u64 {
        let log: PathBuf = folder.join("t.sqlite3-wal");
        log.metadata().unwrap().len() / PAGE_BYTES
    }

    #[test]
    fn a_log_that_is_copied_by_two_begins_anew_again_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = open(folder.path());
        let mut checkpoints = Checkpoints::of(&mut connection, Doubt::default());
        assert!(checkpoints.helper.is_some());
        write(&connection, &mut checkpoints, 20_000);
        let longest = pages_in_log(folder.path());
        assert!(longest < 4_500, "{longest} pages");
    }

    #[test]
    fn a_writer_that_is_alone_copies_the_log_sooner() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = open(folder.path());
        let pages = Arc::default();
        note_pages(&mut connection, &pages).unwrap();
        let mut checkpoints = Checkpoints::with(pages, None, Doubt::default());
        write(&connection, &mut checkpoints, 20_000);
        let longest = pages_in_log(folder.path());
        assert!(longest > 500 && longest < 1_500, "{longest} pages");
    }

    #[test]
    fn the_log_grows_while_somebody_looks_at_an_older_state_and_begins_anew_then() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = open(folder.path());
        let mut checkpoints = Checkpoints::of(&mut connection, Doubt::default());
        let reader = Connection::open(folder.path().join("t.sqlite3")).unwrap();
        reader
            .execute_batch("BEGIN; SELECT count(*) FROM t")
            .unwrap();
        write(&connection, &mut checkpoints, 10_000);
        let longest = pages_in_log(folder.path());
        assert!(longest > 9_000, "{longest} pages");
        reader.execute_batch("COMMIT").unwrap();
        write(&connection, &mut checkpoints, 20_000);
        assert!(checkpoints.pages.load(Ordering::Relaxed) < 4_500);
    }

    #[test]
    fn the_other_thread_copies_what_the_writer_has_not_copied() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = open(folder.path());
        let mut checkpoints = Checkpoints::of(&mut connection, Doubt::default());
        // Nothing is committed after it was asked, so that the log does not begin anew.
        while checkpoints.next_pass == PASS_PAGES {
            write(&connection, &mut checkpoints, 10);
        }
        // It has copied what it was asked to when it has ended.
        drop(checkpoints);
        let copied = connection.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get(2));
        let copied: i64 = copied.unwrap();
        assert!(copied >= 1_000, "{copied} pages");
    }
}
