//! The thread that writes the journal: what came while it wrote is written together next.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use log::warn;
use pending_uploads_core::Clock;
use tokio::sync::{oneshot, watch};

use super::{Entry, Journal, JournalError};

/// How many pieces of work are written together at most, so that the first does not wait for too many.
const GROUP: usize = 1024;

/// The entries are not in the journal.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum WriteError {
    /// There is no room for them; they can be written again when there is.
    #[error("{0}")]
    DiskFull(Arc<JournalError>),
    /// They could not be written.
    #[error("{0}")]
    Failed(Arc<JournalError>),
    /// The thread is gone.
    #[error("the journal was closed")]
    Stopped,
}

impl From<JournalError> for WriteError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::DiskFull(_) => Self::DiskFull(Arc::new(error)),
            _ => Self::Failed(Arc::new(error)),
        }
    }
}

/// A way to the thread, which ends when the last of these is dropped and everything is written.
#[derive(Debug, Clone)]
pub(crate) struct JournalWriter {
    work: Sender<Work>,
    /// Closed when the thread has ended and let go of the journal.
    ended: watch::Receiver<()>,
}

/// Some entries, and who waits for them.
#[derive(Debug)]
struct Work {
    entries: Vec<Entry>,
    told: oneshot::Sender<Result<(), WriteError>>,
}

impl JournalWriter {
    /// Starts the thread, which has the journal from now on.
    pub(crate) fn start(journal: Journal, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let (work, queue) = channel();
        let (ending, ended) = watch::channel(());
        thread::Builder::new()
            .name("inbox-journal".to_owned())
            .spawn(move || {
                // Dropped last, when the journal is.
                let _ending = ending;
                write_all(journal, &queue, &*clock);
            })?;
        Ok(Self { work, ended })
    }

    /// Writes the entries in their order, all or none, and answers when they are durable. Entries of
    /// two calls, one of which began after the other had been polled, are written in that order.
    /// Dropping the future, once it was polled, does not take them back.
    ///
    /// # Errors
    /// [`WriteError`], told to everybody whose entries were to be written together. After
    /// [`WriteError::DiskFull`] nothing of them is there, and writing them again is worthwhile.
    pub(crate) async fn write(&self, entries: Vec<Entry>) -> Result<(), WriteError> {
        let (told, answer) = oneshot::channel();
        let work = Work { entries, told };
        self.work.send(work).map_err(|_| WriteError::Stopped)?;
        answer.await.map_err(|_| WriteError::Stopped)?
    }

    /// Lets go of this way to the thread, and waits until the thread has written everything, ended, and
    /// let go of the journal and its lock; which is when all other ways to it are gone, too.
    pub(crate) async fn close(self) {
        let Self { work, mut ended } = self;
        drop(work);
        // Nothing is ever sent: an error says that the thread has ended.
        while ended.changed().await.is_ok() {}
    }
}

fn write_all(mut journal: Journal, queue: &Receiver<Work>, clock: &dyn Clock) {
    while let Ok(first) = queue.recv() {
        let mut group = vec![first];
        group.extend(queue.try_iter().take(GROUP - 1));
        write_group(&mut journal, group);
        if let Err(error) = journal.compact_if_worthwhile(clock.now()) {
            warn!(error:% = error; "the journal could not be made shorter");
        }
    }
}

/// Writes everything that a group asks for, and tells everybody in it how that went.
fn write_group(journal: &mut Journal, group: Vec<Work>) {
    let (entries, waiting): (Vec<_>, Vec<_>) = group
        .into_iter()
        .map(|work| (work.entries, work.told))
        .unzip();
    let written = journal.append(&entries.concat()).map_err(WriteError::from);
    for told in waiting {
        // Whoever asked may have gone.
        drop(told.send(written.clone()));
    }
}
