//! What a batch has in the store before it is published.
//!
//! A burst is one statement: it notes in the batch's row of `staged_batches` that the batch is alive
//! and how many bursts it has stored, and inserts the chunks. Nothing was promised of it yet, so
//! nobody waits for the disk: the publish, whose commit is synced, syncs all that was written before
//! it. Should the database crash in between and forget bursts, it forgets the newest first, and their
//! count with them: the next burst, or the publish, finds fewer than there were, and fails.

use log::warn;
use pending_uploads_core::{Error, FileId, Timestamp, WorkspaceId};
use uuid::Uuid;

use crate::chunks::Chunk;
use crate::error::PgError;
use crate::pace::Member;
use crate::publish::Staging;
use crate::storage::PgStorage;
use crate::storing::{StagedBurst, Storing};
use crate::sweep;

/// The part of its lease after which a batch that stays under a burst shows that it is alive.
const RENEWED_AFTER: u32 = 4;

/// The bytes of one batch that are in the store, or on their way there.
#[derive(Debug)]
pub(crate) struct Staged {
    storage: PgStorage,
    batch_id: Uuid,
    workspace: WorkspaceId,
    staging: Staging,
    touched_at: Timestamp,
    /// The bursts that are being stored while the next one is collected.
    storing: Option<Storing>,
    /// One of those that are stored in bursts, from the first one on.
    member: Option<Member>,
}

impl Staged {
    /// Nothing yet.
    pub(crate) fn new(storage: &PgStorage, workspace: WorkspaceId) -> Self {
        Self {
            storage: storage.clone(),
            batch_id: Uuid::now_v7(),
            workspace,
            staging: Staging::InMemory,
            touched_at: storage.now(),
            storing: None,
            member: None,
        }
    }

    pub(crate) fn batch_id(&self) -> Uuid {
        self.batch_id
    }

    pub(crate) fn staging(&self) -> Staging {
        self.staging
    }

    /// Whether the batch has shown for so long no sign of life that its lease is to be renewed.
    pub(crate) fn is_due(&self) -> bool {
        let lease = self.storage.config().staging_lease;
        let silent_since = self.touched_at.saturating_add(lease / RENEWED_AFTER);
        self.staging != Staging::InMemory && silent_since < self.storage.now()
    }

    /// Sends a burst on its way, once so few are that it may be; one without chunks only shows that
    /// the batch is alive. It may fail for one that was sent before.
    pub(crate) async fn store(
        &mut self,
        files: impl Iterator<Item = FileId>,
        chunks: Vec<Chunk>,
    ) -> Result<(), PgError> {
        let file_ids = files.map(|file| file.as_uuid()).collect();
        let writers = self.storage.writers();
        let member = self.member.get_or_insert_with(|| writers.join());
        let storing = self
            .storing
            .get_or_insert_with(|| Storing::start(&self.storage));
        let places = storing.wait_for_places(member.company(), &chunks).await;
        let after = self.staging.bursts() + i64::from(!chunks.is_empty());
        self.touched_at = self.storage.now();
        let burst = StagedBurst {
            batch_id: self.batch_id,
            workspace: self.workspace,
            file_ids,
            touched_at: self.touched_at,
            staging: self.staging,
            after,
            chunks,
        };
        // Before it is sent: whatever becomes of it, something may be in the store.
        self.staging = Staging::InStore {
            bursts: after,
            lease_end: self
                .touched_at
                .saturating_add(self.storage.config().staging_lease),
        };
        if places.is_some_and(|places| storing.send(burst, places)) {
            return Ok(());
        }
        // It has ended, which it does by itself for an error only.
        self.settle().await.and(Err(PgError::Stopped))
    }

    /// Waits until the bursts that are on their way have arrived.
    pub(crate) async fn settle(&mut self) -> Result<(), PgError> {
        let Some(storing) = &mut self.storing else {
            return Ok(());
        };
        let stored = storing.end().await;
        self.storing = None;
        stored
    }

    /// There is nothing left to discard.
    pub(crate) fn published(&mut self) {
        self.staging = Staging::InMemory;
    }
}

/// Deletes what was staged, soon; the sweeper does it should this fail.
impl Drop for Staged {
    fn drop(&mut self) {
        if self.staging == Staging::InMemory {
            return;
        }
        let (storing, batch_id) = (self.storing.take(), self.batch_id);
        let (database, now) = (self.storage.database().clone(), self.storage.now());
        self.storage.database().spawn(async move {
            // What is on its way arrives first, and is deleted with the rest.
            if let Some(mut storing) = storing {
                drop(storing.end().await);
            }
            if let Err(error) = sweep::discard_batch(&database, batch_id, now).await {
                let error = Error::from(error);
                warn!(error:% = error.report(); "a discarded batch is left to the sweeper");
            }
        });
    }
}
