//! Writing to the journal until it is written.

use std::sync::Arc;

use log::{error, warn};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::health::{DiskState, Health};
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
}

/// The journal cannot be written any more, and the inbox stops.
#[derive(Debug)]
pub(super) struct Broken;

impl Book {
    /// Writes `entries`; durable when it is over. A full disk is waited for, until the inbox stops.
    pub(super) async fn write(&self, entries: Vec<Entry>) -> Result<(), Broken> {
        let mut backoff = Backoff::new(self.retry);
        let mut room = DiskState::Roomy;
        loop {
            match self.journal.write(entries.clone()).await {
                Ok(()) => {
                    if room == DiskState::Full {
                        self.health.disk(DiskState::Roomy);
                    }
                    return Ok(());
                }
                Err(failure @ WriteError::DiskFull(_)) if !self.stop.is_cancelled() => {
                    warn!(error:% = failure; "the journal cannot be written: the disk is full");
                    room = DiskState::Full;
                    self.health.disk(room);
                    sleep(backoff.next(None)).await;
                }
                Err(failure) => {
                    error!(error:% = failure; "the journal cannot be written: the inbox stops");
                    self.health.journal_broke();
                    self.stop.cancel();
                    return Err(Broken);
                }
            }
        }
    }
}
