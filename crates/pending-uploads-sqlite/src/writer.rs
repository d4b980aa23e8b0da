//! The one thread that writes: everything that arrives while it commits is committed together next.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::error::SqliteError;

/// How many pieces of work share one commit at most, so that the first does not wait for too many.
const GROUP: usize = 256;

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
}

struct Job {
    promise: Promise,
    /// Does the work, and answers what to do when it is known how the commit went.
    run: Box<dyn FnOnce(&Connection) -> Answer + Send>,
}

/// Tells whoever asked how it went. What it is given is the commit's failure, if it failed.
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
                write_groups(&connection, &jobs);
                drop(connection);
                drop(guard);
            })?;
        Ok(Self { work })
    }

    /// Runs work in a transaction that it may share with others', and answers when that is
    /// committed. Work that fails is undone alone. A dropped future leaves the work done or not.
    pub(crate) async fn write<T, F>(&self, promise: Promise, work: F) -> Result<T, SqliteError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, SqliteError> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let run = Box::new(move |connection: &Connection| {
            let worked = work(connection);
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
            .send(Job { promise, run })
            .map_err(|_| SqliteError::Closed)?;
        told.await.map_err(|_| SqliteError::Closed)?
    }
}

fn write_groups(connection: &Connection, jobs: &Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let group: Vec<Job> = std::iter::once(first)
            .chain(jobs.try_iter().take(GROUP - 1))
            .collect();
        write_group(connection, group);
    }
}

fn write_group(connection: &Connection, group: Vec<Job>) {
    let begun = begin(connection, &group);
    let mut answers = Vec::with_capacity(group.len());
    if begun.is_ok() {
        answers.extend(group.into_iter().map(|job| run_alone(connection, job)));
    }
    // When it did not even begin, the jobs are dropped, and whoever asked is told by that.
    let committed = begun.and_then(|()| connection.execute_batch("COMMIT"));
    let failure = committed.err();
    if failure.is_some() {
        // Already undone when the commit failed for good.
        drop(connection.execute_batch("ROLLBACK"));
    }
    for answer in answers {
        let kept = answer.outcome == Outcome::Keep;
        (answer.tell)(failure.as_ref().filter(|_| kept).map(commit_failed));
    }
}

/// The sync can only be chosen between transactions.
fn begin(connection: &Connection, group: &[Job]) -> rusqlite::Result<()> {
    let durable = group.iter().any(|job| job.promise == Promise::Durable);
    let synchronous = if durable { "FULL" } else { "NORMAL" };
    connection.execute_batch(&format!(
        "PRAGMA synchronous = {synchronous}; BEGIN IMMEDIATE"
    ))
}

/// Runs one piece of work so that its failure takes none of the others with it.
fn run_alone(connection: &Connection, job: Job) -> Answer {
    let opened = connection.execute_batch("SAVEPOINT work");
    let mut answer = (job.run)(connection);
    let closed = opened.and_then(|()| {
        connection.execute_batch(match answer.outcome {
            Outcome::Keep => "RELEASE work",
            Outcome::Undo => "ROLLBACK TO work; RELEASE work",
        })
    });
    if let Err(error) = closed
        && answer.outcome == Outcome::Keep
    {
        let tell = answer.tell;
        answer = Answer {
            outcome: Outcome::Undo,
            tell: Box::new(move |_| tell(Some(error.into()))),
        };
    }
    answer
}

fn commit_failed(error: &rusqlite::Error) -> SqliteError {
    SqliteError::Commit(error.to_string(), error.sqlite_error_code())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer() -> Writer {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch("CREATE TABLE t (n INTEGER PRIMARY KEY)")
            .unwrap();
        Writer::start(connection, ()).unwrap()
    }

    fn insert(n: i64) -> impl FnOnce(&Connection) -> Result<usize, SqliteError> + Send + 'static {
        move |connection| Ok(connection.execute("INSERT INTO t VALUES (?1)", [n])?)
    }

    async fn numbers(writer: &Writer) -> Vec<i64> {
        let work = |connection: &Connection| {
            let mut select = connection.prepare("SELECT n FROM t ORDER BY n")?;
            let rows = select.query_map([], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        };
        writer.write(Promise::Durable, work).await.unwrap()
    }

    #[tokio::test]
    async fn work_that_fails_takes_none_of_its_group_with_it() {
        let writer = writer();
        let (one, again, two) = tokio::join!(
            writer.write(Promise::Durable, insert(1)),
            writer.write(Promise::Durable, |connection: &Connection| {
                connection.execute("INSERT INTO t VALUES (7)", [])?;
                Ok(connection.execute("INSERT INTO t VALUES (1)", [])?)
            }),
            writer.write(Promise::BestEffort, insert(2)),
        );
        assert!(one.is_ok() && again.is_err() && two.is_ok());
        assert_eq!(numbers(&writer).await, [1, 2]);
    }

    #[tokio::test]
    async fn work_whose_caller_went_away_is_done_all_the_same() {
        let writer = writer();
        {
            let abandoned = std::pin::pin!(writer.write(Promise::Durable, insert(3)));
            drop(futures_util::future::poll_immediate(abandoned).await);
        }
        assert_eq!(numbers(&writer).await, [3]);
    }
}
