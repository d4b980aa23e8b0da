//! The one thread that writes: everything that arrives while it commits is committed together next.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use log::error;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::error::SqliteError;
use crate::log_length::LogLength;

/// How many pieces of work share one commit at most, so that the first does not wait for too many.
const GROUP: usize = 256;
/// How many KiB share one commit at most, but for the last piece of work.
const GROUP_KIB: u32 = 8 * 1024;
/// How many KiB may be waiting for the thread; whoever has more to write waits outside.
const QUEUE_KIB: u32 = 64 * 1024;
/// Whether whoever asked was promised that the work survives a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    /// It was: its commit is synced.
    Durable,
    /// It was not: it may be lost, and is synced with whatever durable work comes next.
    BestEffort,
}

/// A way to the writing thread. It ends when the last of these is dropped and all its work is done.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    work: Sender<Job>,
    room: Arc<Semaphore>,
}

/// Room in the queue, which whoever waits for it does not take from anybody by going away.
#[derive(Debug)]
pub(crate) struct Place {
    kib: u32,
    permit: OwnedSemaphorePermit,
}

struct Job {
    promise: Promise,
    place: Place,
    /// Does the work, or takes the reason why it cannot be done; answers what to do when it is
    /// known how the commit went.
    run: Box<Work>,
}

type Work = dyn FnOnce(Result<&Connection, SqliteError>) -> Answer + Send;

/// Tells whoever asked how it went. What it is given is the failure of the whole, if it failed.
struct Answer {
    outcome: Outcome,
    tell: Box<dyn FnOnce(Option<SqliteError>) + Send>,
}

/// Whether a piece of work is to be committed with the others or undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Keep,
    Undo,
}

impl Writer {
    /// Starts the thread, which owns the connection, and keeps `guard` until it has closed it.
    pub(crate) fn start(
        connection: Connection,
        guard: impl Send + 'static,
    ) -> std::io::Result<Self> {
        let (work, jobs) = channel();
        thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || {
                Groups::new(connection).write(&jobs);
                drop(guard);
            })?;
        let room = usize::try_from(QUEUE_KIB).unwrap_or(Semaphore::MAX_PERMITS);
        Ok(Self {
            work,
            room: Arc::new(Semaphore::new(room)),
        })
    }

    /// Waits for room for work that writes so many bytes. A dropped future takes none.
    pub(crate) async fn place(&self, bytes: usize) -> Result<Place, SqliteError> {
        let kib = u32::try_from(bytes / 1024 + 1).map_or(QUEUE_KIB, |kib| kib.min(QUEUE_KIB));
        let permit = Arc::clone(&self.room)
            .acquire_many_owned(kib)
            .await
            .map_err(|_| SqliteError::Closed)?;
        Ok(Place { kib, permit })
    }

    /// Runs small work in a transaction that it may share with others', and answers when that is
    /// committed. Work that fails is undone alone. A dropped future leaves the work done or not.
    pub(crate) async fn write<T, F>(&self, promise: Promise, work: F) -> Result<T, SqliteError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, SqliteError> + Send + 'static,
    {
        let place = self.place(0).await?;
        self.write_in(place, promise, work).await
    }

    /// As [`write`](Self::write), in room that was waited for before.
    pub(crate) async fn write_in<T, F>(
        &self,
        place: Place,
        promise: Promise,
        work: F,
    ) -> Result<T, SqliteError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, SqliteError> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let run = Box::new(move |connection: Result<&Connection, SqliteError>| {
            let worked = connection.and_then(work);
            let outcome = if worked.is_ok() {
                Outcome::Keep
            } else {
                Outcome::Undo
            };
            let tell = Box::new(move |failure: Option<SqliteError>| {
                // Nobody listens any more: the caller's future was dropped.
                drop(tell.send(failure.map_or(worked, Err)));
            });
            Answer { outcome, tell }
        });
        self.work
            .send(Job {
                promise,
                place,
                run,
            })
            .map_err(|_| SqliteError::Closed)?;
        told.await.map_err(|_| SqliteError::Closed)?
    }
}

/// The writing thread's own side.
struct Groups {
    connection: Connection,
    log_length: LogLength,
}

impl Groups {
    fn new(connection: Connection) -> Self {
        let log_length = LogLength::of(&connection);
        Self {
            connection,
            log_length,
        }
    }

    fn write(&mut self, jobs: &Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let mut group = gather(first, jobs);
            while !group.is_empty() {
                group = self.write_together(group);
            }
            self.log_length.check(&self.connection);
        }
        // Whoever opens the folder next, or copies it, finds all in the database itself.
        self.log_length.cut(&self.connection);
    }

    /// Writes jobs in one transaction; answers those that it did not come to, because the work of
    /// one before them broke the transaction.
    fn write_together(&self, mut jobs: VecDeque<Job>) -> VecDeque<Job> {
        if let Err(error) = self.begin(&jobs) {
            for job in jobs {
                refuse(job, undone(&error));
            }
            return VecDeque::new();
        }
        let mut places = Vec::with_capacity(jobs.len());
        let mut answers = Vec::with_capacity(jobs.len());
        while let Some(job) = jobs.pop_front() {
            places.push(job.place.permit);
            let broken = self.run_alone(job.run, &mut answers).err();
            if let Some(error) = broken {
                self.roll_back();
                tell_all(answers, || Some(undone(&error)));
                return jobs;
            }
        }
        match self.connection.execute_batch("COMMIT") {
            Ok(()) => tell_all(answers, || None),
            Err(error) => {
                self.roll_back();
                tell_all(answers, || Some(commit_failed(&error)));
            }
        }
        VecDeque::new()
    }

    /// The sync can only be chosen between transactions.
    fn begin(&self, jobs: &VecDeque<Job>) -> rusqlite::Result<()> {
        let durable = jobs.iter().any(|job| job.promise == Promise::Durable);
        let synchronous = if durable { "FULL" } else { "NORMAL" };
        self.connection.execute_batch(&format!(
            "PRAGMA synchronous = {synchronous}; BEGIN IMMEDIATE"
        ))
    }

    /// Runs one piece of work so that its failure takes none of the others with it. An error is one
    /// of the whole transaction: a full disk, for one, makes SQLite undo all of it, and what came
    /// after would be committed alone.
    fn run_alone(
        &self,
        run: impl FnOnce(Result<&Connection, SqliteError>) -> Answer,
        answers: &mut Vec<Answer>,
    ) -> rusqlite::Result<()> {
        if let Err(error) = self.connection.execute_batch("SAVEPOINT work") {
            answers.push(run(Err(undone(&error))));
            return Err(error);
        }
        let ran = catch_unwind(AssertUnwindSafe(|| run(Ok(&self.connection))));
        // Whoever asked for work that panicked is told by its end of the channel being gone.
        let outcome = ran.as_ref().map_or(Outcome::Undo, |answer| answer.outcome);
        match ran {
            Ok(answer) => answers.push(answer),
            Err(_) => error!("a piece of work panicked"),
        }
        if self.connection.is_autocommit() {
            return Err(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL),
                Some("the whole transaction was undone".to_owned()),
            ));
        }
        self.connection.execute_batch(match outcome {
            Outcome::Keep => "RELEASE work",
            Outcome::Undo => "ROLLBACK TO work; RELEASE work",
        })
    }

    /// There is nothing to roll back when SQLite has done it itself.
    fn roll_back(&self) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            error!(error:%; "a transaction could not be rolled back");
        }
    }
}

/// The first job, and those that have come meanwhile.
fn gather(first: Job, jobs: &Receiver<Job>) -> VecDeque<Job> {
    let mut kib = first.place.kib;
    let mut group = VecDeque::from([first]);
    while group.len() < GROUP && kib < GROUP_KIB {
        let Ok(next) = jobs.try_recv() else {
            break;
        };
        kib += next.place.kib;
        group.push_back(next);
    }
    group
}

/// What failed alone keeps its own reason.
fn tell_all(answers: Vec<Answer>, failure: impl Fn() -> Option<SqliteError>) {
    for answer in answers {
        match answer.outcome {
            Outcome::Keep => (answer.tell)(failure()),
            Outcome::Undo => (answer.tell)(None),
        }
    }
}

fn refuse(job: Job, error: SqliteError) {
    let answer = (job.run)(Err(error));
    (answer.tell)(None);
}

fn undone(error: &rusqlite::Error) -> SqliteError {
    SqliteError::Undone(error.to_string(), error.sqlite_error_code())
}

/// The end of a transaction that found no room was not written. After another failure it may have
/// been, and not synced.
fn commit_failed(error: &rusqlite::Error) -> SqliteError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => undone(error),
        code => SqliteError::Commit(error.to_string(), code),
    }
}

#[cfg(test)]
mod tests;
