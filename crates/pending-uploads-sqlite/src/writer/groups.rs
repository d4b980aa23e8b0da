//! What shares a transaction, and what becomes of the others when a piece of work fails.
//!
//! Work that fails is rare, and mostly fails before it has written anything: a full quota, a file
//! that is not there. So a group runs as it comes, without a savepoint for each piece of work, which
//! would copy every page that it changes. Only when something fails in the midst of its writing is
//! all of the group undone and done once more, each piece in a savepoint of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use log::error;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode};

use super::Promise;
use super::job::{Job, Outcome, Panicked};
use crate::bundle::{BundleFailed, NewBundle, Writing};
use crate::checkpoints::Checkpoints;
use crate::doubt::Doubt;
use crate::error::SqliteError;
use crate::folder::Folder;
use crate::log_length::LogLength;

/// How many pieces of work share one commit at most, so that the first does not wait for too many.
pub(super) const GROUP: usize = 256;
/// How many KiB share one commit at most, but for the last piece of work.
pub(super) const GROUP_KIB: u32 = 8 * 1024;

/// The writing thread's own side.
pub(super) struct Groups<'a> {
    connection: Connection,
    folder: &'a Arc<Folder>,
    log_length: LogLength,
    /// For which promises the connection syncs its commits now.
    synced_for: Option<Promise>,
    log: Log,
    doubt: Doubt,
}

/// Whether a commit that is synced is sure to be found again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Log {
    Sound,
    /// A commit failed, maybe because the disk did. The system tells that once: what was in the log
    /// and not synced may be missing from it for good, and after a crash nothing is read past that.
    Doubtful,
}

/// Something failed that had written: the transaction holds a part of it.
struct Spoiled;

impl From<BundleFailed> for Spoiled {
    fn from(BundleFailed: BundleFailed) -> Self {
        Self
    }
}

impl<'a> Groups<'a> {
    pub(super) fn new(connection: Connection, folder: &'a Arc<Folder>, doubt: Doubt) -> Self {
        let log_length = LogLength::of(&connection, doubt.clone());
        Self {
            connection,
            folder,
            log_length,
            synced_for: None,
            log: Log::Sound,
            doubt,
        }
    }

    /// Writes until nobody can ask for anything any more.
    pub(super) fn write(&mut self, jobs: &Receiver<Job>) {
        let mut checkpoints = Checkpoints::of(&mut self.connection, self.doubt.clone());
        while let Ok(first) = jobs.recv() {
            let group = gather(first, jobs);
            let may_write = self.doubt.check();
            match may_write.and_then(|()| self.leave_doubtful_log(&checkpoints)) {
                Ok(()) => self.write_together(group),
                Err(error) => refuse_all(group, &error),
            }
            checkpoints.check(&self.connection);
            self.log_length.check(&self.connection, &checkpoints);
        }
        drop(checkpoints);
        // Whoever opens the folder next, or copies it, finds all in the database itself.
        self.log_length.cut(&self.connection);
        if self.doubt.is_raised() {
            self.keep_log();
        }
    }

    /// Keeps SQLite from copying the log when the connection is closed: the next to open the folder
    /// is to copy all of it.
    fn keep_log(&self) {
        let keep = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        if let Err(error) = self.connection.set_db_config(keep, true) {
            error!(error:%; "the write-ahead log may be gone after the end");
        }
    }

    /// Copies what is in a doubtful log into the database, synced, and begins the log anew. Nothing
    /// is to be written as long as that fails.
    fn leave_doubtful_log(&mut self, checkpoints: &Checkpoints) -> rusqlite::Result<()> {
        if self.log == Log::Doubtful {
            let _keeping_off = checkpoints.keep_off();
            self.log_length.empty(&self.connection)?;
            self.log = Log::Sound;
        }
        Ok(())
    }

    /// Writes jobs in one transaction, or in several when one of them fails.
    fn write_together(&mut self, mut jobs: VecDeque<Job>) {
        if jobs.len() == 1 || jobs.iter().all(Job::is_repeatable) {
            if let Err(error) = self.begin(&jobs) {
                return refuse_all(jobs, &error);
            }
            let bytes = jobs.iter().map(Job::bytes).sum();
            let writing = Writing::of(&self.connection, self.folder, bytes);
            // What failed with a bundle may go well in rows.
            let is_over = jobs.len() == 1 && writing.is_in_rows();
            let ran = self.run_together(&writing, &mut jobs);
            match ran.and_then(|()| Ok(writing.seal()?)) {
                Ok(bundle) => return self.commit(jobs, bundle),
                Err(Spoiled) => self.roll_back(),
            }
            if is_over {
                return tell_all(jobs, || None);
            }
        }
        while !jobs.is_empty() {
            jobs = self.write_apart(jobs);
        }
    }

    /// Runs jobs without a way to undo only one of them. Work that panicked is gone afterwards.
    fn run_together(&self, writing: &Writing<'_>, jobs: &mut VecDeque<Job>) -> Result<(), Spoiled> {
        for index in 0..jobs.len() {
            let Some(job) = jobs.get_mut(index) else {
                break;
            };
            let before = writing.changes();
            match job.run(writing) {
                Ok(Outcome::Keep) => self.check_open()?,
                Ok(Outcome::Undo) => {
                    self.check_open()?;
                    check_unchanged(writing, before)?;
                }
                Err(Panicked) => {
                    error!("a piece of work panicked");
                    jobs.remove(index);
                    return Err(Spoiled);
                }
            }
        }
        Ok(())
    }

    /// A full disk, for one, makes SQLite undo the whole transaction.
    fn check_open(&self) -> Result<(), Spoiled> {
        if self.connection.is_autocommit() {
            return Err(Spoiled);
        }
        Ok(())
    }

    /// Writes jobs in one transaction, each so that it can be undone alone; answers those that it did
    /// not come to, because the work of one before them broke the transaction.
    fn write_apart(&mut self, mut jobs: VecDeque<Job>) -> VecDeque<Job> {
        if let Err(error) = self.begin(&jobs) {
            refuse_all(jobs, &error);
            return VecDeque::new();
        }
        let mut done = VecDeque::with_capacity(jobs.len());
        while let Some(job) = jobs.pop_front() {
            if let Err(error) = self.run_apart(job, &mut done) {
                self.roll_back();
                tell_all(done, || Some(undone(&error)));
                return jobs;
            }
        }
        self.commit(done, None);
        VecDeque::new()
    }

    /// Runs one piece of work so that its failure takes none of the others with it. An error is one
    /// of the whole transaction: a full disk, for one, makes SQLite undo all of it, and what came
    /// after would be committed alone.
    fn run_apart(&self, mut job: Job, done: &mut VecDeque<Job>) -> rusqlite::Result<()> {
        if let Err(error) = self.execute("SAVEPOINT work") {
            job.refuse(undone(&error));
            return Err(error);
        }
        let writing = Writing::in_rows(&self.connection);
        let outcome = if let Ok(outcome) = job.run(&writing) {
            done.push_back(job);
            outcome
        } else {
            error!("a piece of work panicked");
            Outcome::Undo
        };
        if self.connection.is_autocommit() {
            return Err(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL),
                Some("the whole transaction was undone".to_owned()),
            ));
        }
        if outcome == Outcome::Undo {
            self.execute("ROLLBACK TO work")?;
        }
        self.execute("RELEASE work")
    }

    /// The sync can only be chosen between transactions.
    fn begin(&mut self, jobs: &VecDeque<Job>) -> rusqlite::Result<()> {
        let durable = jobs.iter().any(|job| job.promise == Promise::Durable);
        let (promise, synchronous) = if durable {
            (Promise::Durable, "FULL")
        } else {
            (Promise::BestEffort, "NORMAL")
        };
        if self.synced_for != Some(promise) {
            let pragma = format!("PRAGMA synchronous = {synchronous}");
            self.connection.execute_batch(&pragma)?;
            self.synced_for = Some(promise);
        }
        self.execute("BEGIN IMMEDIATE")
    }

    fn commit(&mut self, jobs: VecDeque<Job>, bundle: Option<NewBundle>) {
        let Err(error) = self.execute("COMMIT") else {
            if let Some(bundle) = bundle {
                bundle.keep();
            }
            return tell_all(jobs, || None);
        };
        self.roll_back();
        if let SqliteError::Commit(..) = commit_failed(&error) {
            self.log = Log::Doubtful;
            if let Some(bundle) = bundle {
                // The commit may come back after a crash: the next open of the folder knows.
                bundle.keep();
            }
        }
        tell_all(jobs, || Some(commit_failed(&error)));
    }

    /// There is nothing to roll back when SQLite has done it itself.
    fn roll_back(&self) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.execute("ROLLBACK")
        {
            error!(error:%; "a transaction could not be rolled back");
        }
    }

    /// Runs a statement that is parsed the first time only.
    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }
}

fn check_unchanged(writing: &Writing<'_>, changes: u64) -> Result<(), Spoiled> {
    if writing.changes() != changes {
        return Err(Spoiled);
    }
    Ok(())
}

/// The first job, and those that have come meanwhile.
fn gather(first: Job, jobs: &Receiver<Job>) -> VecDeque<Job> {
    let mut kib = first.kib();
    let mut group = VecDeque::from([first]);
    while group.len() < GROUP && kib < GROUP_KIB {
        let Ok(next) = jobs.try_recv() else {
            break;
        };
        kib += next.kib();
        group.push_back(next);
    }
    group
}

fn tell_all(jobs: VecDeque<Job>, failure: impl Fn() -> Option<SqliteError>) {
    for job in jobs {
        job.tell(failure());
    }
}

fn refuse_all(jobs: VecDeque<Job>, error: &rusqlite::Error) {
    for job in jobs {
        job.refuse(undone(error));
    }
}

fn undone(error: &rusqlite::Error) -> SqliteError {
    SqliteError::Undone(error.to_string(), error.sqlite_error_code())
}

/// The end of a transaction that found no room was not written. After another failure it may have
/// been, and not synced.
pub(super) fn commit_failed(error: &rusqlite::Error) -> SqliteError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => undone(error),
        code => SqliteError::Commit(error.to_string(), code),
    }
}
