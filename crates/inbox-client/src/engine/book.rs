//! Writing to the journal until it is written.

use std::sync::Arc;

use log::{error, warn};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::health::{Health, JournalState};
use crate::RetryPolicy;
use crate::journal::{Entry, JournalWriter, WriteError};
use crate::retry::Backoff;

/// Writes to the journal. Clones write to the same.
#[derive(Debug, Clone)]
pub(super) struct Book {
    pub(super) journal: JournalWriter,
    pub(super) health: Arc<Health>,
    pub(super) retry: RetryPolicy,
    pub(super) stop: CancellationToken,
    pub(super) patience: Patience,
}

/// How long a full disk is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Until it has room, or the inbox stops.
    Endless,
    /// For so many attempts.
    Attempts(u32),
}

/// The journal cannot be written any more, and the inbox stops.
#[derive(Debug)]
pub(super) struct Broken;

impl Book {
    /// Writes `entries`; durable when it is over. A full disk is waited for, until the inbox stops.
    pub(super) async fn write(&self, entries: Vec<Entry>) -> Result<(), Broken> {
        let mut backoff = Backoff::new(self.retry);
        let mut found = JournalState::Sound;
        for attempts in 1_u32.. {
            match self.journal.write(entries.clone()).await {
                Ok(()) => {
                    if found == JournalState::Full {
                        self.health.journal(JournalState::Sound);
                    }
                    return Ok(());
                }
                Err(failure @ WriteError::DiskFull(_)) if self.goes_on(attempts) => {
                    warn!(workspace_id:% = self.health.workspace_id(), error:% = failure; "the journal cannot be written: the disk is full");
                    found = JournalState::Full;
                    self.health.journal(found);
                    let pause = sleep(backoff.next(None));
                    // An inbox that stops tries once more, and waits no longer.
                    self.stop.run_until_cancelled(pause).await;
                }
                Err(failure) => {
                    error!(workspace_id:% = self.health.workspace_id(), error:% = failure; "the journal cannot be written: the inbox stops");
                    self.health.journal(JournalState::Broken);
                    self.stop.cancel();
                    return Err(Broken);
                }
            }
        }
        Err(Broken)
    }

    fn goes_on(&self, attempts: u32) -> bool {
        let patient = match self.patience {
            Patience::Endless => true,
            Patience::Attempts(most) => attempts < most,
        };
        patient && !self.stop.is_cancelled()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pending_uploads_core::{FileId, WorkspaceId};
    use tokio::time::timeout;

    use super::*;
    use crate::Condition;
    use crate::journal::tests::writing::writer_without_room;

    #[tokio::test]
    async fn an_inbox_that_stops_does_not_wait_for_room_any_more() {
        let (_folder, journal) = writer_without_room();
        let health = Arc::new(Health::new(WorkspaceId::generate()));
        let an_hour = Duration::from_hours(1);
        let book = Book {
            journal,
            health: Arc::clone(&health),
            retry: RetryPolicy {
                first: 1000 * an_hour,
                longest: 1000 * an_hour,
                longest_asked: an_hour,
            },
            stop: CancellationToken::new(),
            patience: Patience::Endless,
        };
        let stop = async {
            let mut conditions = health.conditions();
            let full = conditions.wait_for(|now| *now == Condition::DiskFull).await;
            drop(full.unwrap());
            book.stop.cancel();
        };
        let write = book.write(vec![Entry::Acked(FileId::generate())]);
        let both = async { tokio::join!(write, stop).0 };
        let written = timeout(Duration::from_secs(20), both).await.unwrap();
        assert!(written.is_err());
    }

    #[tokio::test]
    async fn an_inbox_that_ends_does_not_wait_for_room_for_ever() {
        let (_folder, journal) = writer_without_room();
        let moment = Duration::from_millis(1);
        let book = Book {
            journal,
            health: Arc::new(Health::new(WorkspaceId::generate())),
            retry: RetryPolicy {
                first: moment,
                longest: moment,
                longest_asked: moment,
            },
            stop: CancellationToken::new(),
            patience: Patience::Attempts(3),
        };
        let write = book.write(vec![Entry::Acked(FileId::generate())]);
        let written = timeout(Duration::from_secs(20), write).await.unwrap();
        assert!(written.is_err());
        assert_eq!(*book.health.conditions().borrow(), Condition::Broken);
    }
}
