//! Moving the cursor behind what is done.

use std::future::pending;
use std::sync::Arc;

use pending_uploads_core::FileId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::Engine;
use super::book::Book;
use crate::journal::{Entry, Position};

/// How many rows of the feed may be handed on and not done: so many messages are handed over again
/// after a crash, at most.
const ROWS_UNDER_WAY: usize = 256;

/// A row that was handed on, and what tells that it is done.
#[derive(Debug)]
pub(super) struct RowUnderWay {
    pub(super) position: Position,
    pub(super) done: Done,
}

/// When a row is done.
#[derive(Debug)]
pub(super) enum Done {
    /// It is.
    Already,
    /// When its file has arrived or is lost.
    WithFile(FileId),
    /// When its message is confirmed.
    WhenConfirmed(oneshot::Receiver<()>),
}

/// Where rows go that were handed on, in the order of the feed.
pub(super) fn rows() -> (mpsc::Sender<RowUnderWay>, mpsc::Receiver<RowUnderWay>) {
    mpsc::channel(ROWS_UNDER_WAY)
}

impl Engine {
    /// Follows the rows that are done and have only such rows before them. When the inbox stops, it
    /// still goes past what is done by then.
    pub(super) async fn move_cursor(self: Arc<Self>, mut rows: mpsc::Receiver<RowUnderWay>) {
        let (reached, positions) = watch::channel(None);
        self.tasks.spawn(keep(self.book.clone(), positions));
        while let Some(Some(row)) = unless_stopped(&self.stop, rows.recv()).await {
            let done = self.until_done(row.done);
            if unless_stopped(&self.stop, done).await.is_none() {
                return;
            }
            reached.send_replace(Some(row.position));
        }
    }

    async fn until_done(&self, done: Done) {
        match done {
            Done::Already => {}
            Done::WithFile(file_id) => drop(self.files.wait_until_settled(file_id).await),
            Done::WhenConfirmed(confirmed) => {
                if confirmed.await.is_err() {
                    // It was dropped instead: the row is not done in this process's life.
                    pending::<()>().await;
                }
            }
        }
    }
}

/// What comes of `task`; none when the inbox stops before, or has stopped and the task would wait.
async fn unless_stopped<T>(stop: &CancellationToken, task: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = task => Some(done),
        () = stop.cancelled() => None,
    }
}

/// Writes down the newest position, whenever there is a newer one; the last one, too.
async fn keep(book: Book, mut positions: watch::Receiver<Option<Position>>) {
    loop {
        let is_last = positions.changed().await.is_err();
        let newest = *positions.borrow_and_update();
        if is_last {
            return;
        }
        if let Some(position) = newest
            && book.write(vec![Entry::Cursor(position)]).await.is_err()
        {
            return;
        }
    }
}
