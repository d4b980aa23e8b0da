//! The one thread that writes: everything that arrives while it commits is committed together next.

mod groups;
mod job;

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::bundle::Writing;
use crate::doubt::Doubt;
use crate::error::SqliteError;
use crate::folder::Folder;
use groups::Groups;
use job::{Job, Repetition};

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
    jobs: Sender<Job>,
    room: Arc<Semaphore>,
}

/// Room in the queue, which whoever waits for it does not take from anybody by going away.
#[derive(Debug)]
pub(crate) struct Place {
    /// How much of what is to be written may lie beside the database, in bytes.
    bytes: u64,
    kib: u32,
    /// Given back when this is dropped.
    _permit: OwnedSemaphorePermit,
}

impl Writer {
    /// Starts the thread, which owns the connection to the database in `folder`, and keeps the folder
    /// until it has closed it.
    pub(crate) fn start(connection: Connection, folder: Arc<Folder>) -> std::io::Result<Self> {
        Self::start_with(connection, folder, (), Doubt::default())
    }

    /// As [`start`](Self::start); the thread keeps `guard` as well, and `doubt` may be raised from
    /// outside.
    fn start_with(
        connection: Connection,
        folder: Arc<Folder>,
        guard: impl Send + 'static,
        doubt: Doubt,
    ) -> std::io::Result<Self> {
        let (jobs, waiting) = channel();
        thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || {
                Groups::new(connection, &folder, doubt).write(&waiting);
                drop((folder, guard));
            })?;
        let room = usize::try_from(QUEUE_KIB).unwrap_or(Semaphore::MAX_PERMITS);
        Ok(Self {
            jobs,
            room: Arc::new(Semaphore::new(room)),
        })
    }

    /// Waits for room for work that writes rows of so many bytes, and nothing that could lie beside
    /// the database. A dropped future takes none.
    pub(crate) async fn place_for_rows(&self, bytes: usize) -> Result<Place, SqliteError> {
        let place = self.place(bytes).await?;
        Ok(Place { bytes: 0, ..place })
    }

    /// Waits for room for work that writes so many bytes. A dropped future takes none.
    pub(crate) async fn place(&self, bytes: usize) -> Result<Place, SqliteError> {
        let kib = u32::try_from(bytes / 1024 + 1).map_or(QUEUE_KIB, |kib| kib.min(QUEUE_KIB));
        let permit = Arc::clone(&self.room)
            .acquire_many_owned(kib)
            .await
            .map_err(|_| SqliteError::Closed)?;
        Ok(Place {
            bytes: bytes as u64,
            kib,
            _permit: permit,
        })
    }

    /// Runs small work in a transaction that it may share with others', and answers when that is
    /// committed. Work that fails is undone alone; the others of its group are then done once more,
    /// so that it may be called twice. A dropped future leaves the work done or not.
    pub(crate) async fn write<T, F>(&self, promise: Promise, work: F) -> Result<T, SqliteError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, SqliteError> + Send + 'static,
    {
        let place = self.place(0).await?;
        let work = in_transaction(work);
        self.write_then(place, promise, work, || ()).await
    }

    /// As [`write`](Self::write), in room that was waited for before. Once the work is committed,
    /// and before that is answered, the thread calls `then`, also when the future was dropped.
    pub(crate) async fn write_then<T, F, G>(
        &self,
        place: Place,
        promise: Promise,
        work: F,
        then: G,
    ) -> Result<T, SqliteError>
    where
        T: Send + 'static,
        F: FnMut(&Writing<'_>) -> Result<T, SqliteError> + Send + 'static,
        G: FnOnce() + Send + 'static,
    {
        self.ask(place, promise, Repetition::Possible, work, then)
            .await
    }

    /// As [`write`](Self::write), for work that cannot be called twice.
    pub(crate) async fn write_once<T, F>(&self, promise: Promise, work: F) -> Result<T, SqliteError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, SqliteError> + Send + 'static,
    {
        let place = self.place(0).await?;
        let mut once = Some(work);
        let work = in_transaction(move |connection: &Connection| {
            let work = once.take().ok_or(SqliteError::Closed)?;
            work(connection)
        });
        self.ask(place, promise, Repetition::Impossible, work, || ())
            .await
    }

    async fn ask<T, F, G>(
        &self,
        place: Place,
        promise: Promise,
        repetition: Repetition,
        work: F,
        then: G,
    ) -> Result<T, SqliteError>
    where
        T: Send + 'static,
        F: FnMut(&Writing<'_>) -> Result<T, SqliteError> + Send + 'static,
        G: FnOnce() + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let job = Job::new(place, promise, repetition, work, then, tell);
        self.jobs.send(job).map_err(|_| SqliteError::Closed)?;
        told.await.map_err(|_| SqliteError::Closed)?
    }
}

/// Work that needs nothing but the transaction.
fn in_transaction<T>(
    mut work: impl FnMut(&Connection) -> Result<T, SqliteError>,
) -> impl FnMut(&Writing<'_>) -> Result<T, SqliteError> {
    move |writing| work(writing.connection())
}

#[cfg(test)]
mod tests;
