//! What a batch has in the store before it is published.
//!
//! A burst is one statement: it notes in the batch's row of `staged_batches` that the batch is alive
//! and how many bursts it has stored, and inserts the chunks. Nothing was promised of it yet, so
//! nobody waits for the disk: the publish, whose commit is synced, syncs all that was written before
//! it. Should the database crash in between and forget bursts, it forgets the newest first, and their
//! count with them: the next burst, or the publish, finds fewer than there were, and fails.

use std::time::SystemTime;

use log::warn;
use pending_uploads_core::{Error, FileId, Timestamp, WorkspaceId};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::batch::RETRY_PAUSES;
use crate::chunks::{Chunk, ChunkColumns};
use crate::error::PgError;
use crate::publish::Staging;
use crate::storage::PgStorage;
use crate::sweep;

/// The part of its lease after which a batch that stays under a burst shows that it is alive.
const RENEWED_AFTER: u32 = 4;

/// Where a burst that is sent again after it was committed is found to be there already.
const STAGING_TABLES: [&str; 2] = ["staged_batches", "pending_upload_chunks"];

/// A burst: $1 to $4 are the batch, its workspace, its files and the time, $5 and $6 how many bursts
/// there were before and are now, $7 to $9 the chunks. It answers a row when the batch is there.
macro_rules! burst {
    ($note:literal) => {
        concat!(
            "WITH noted AS (",
            $note,
            " RETURNING batch_id), \
             stored AS (INSERT INTO pending_upload_chunks (file_id, seq, data) \
                 SELECT chunk.* FROM noted, unnest($7::uuid[], $8::int4[], $9::bytea[]) AS chunk) \
             SELECT batch_id FROM noted"
        )
    };
}
const FIRST_BURST: &str = burst!(
    "INSERT INTO staged_batches (batch_id, workspace_id, file_ids, touched_at, bursts) \
     SELECT $1, $2, $3, $4, $6 \
     FROM (SELECT set_config('synchronous_commit', 'off', true)) AS unhurried \
     WHERE $5::int8 = 0"
);
/// One that is sent again after its answer was lost may find itself counted already.
const NEXT_BURST: &str = burst!(
    "UPDATE staged_batches SET file_ids = $3, touched_at = $4, bursts = $6 \
     FROM (SELECT set_config('synchronous_commit', 'off', true)) AS unhurried \
     WHERE batch_id = $1 AND workspace_id = $2 AND abandoned_at IS NULL AND bursts IN ($5, $6)"
);

/// The bytes of one batch that are in the store, or on their way there.
#[derive(Debug)]
pub(crate) struct Staged {
    storage: PgStorage,
    batch_id: Uuid,
    workspace: WorkspaceId,
    staging: Staging,
    touched_at: Timestamp,
    /// The burst that is being stored while the next one is collected.
    storing: Option<JoinHandle<Result<(), PgError>>>,
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

    /// Sends a burst on its way, once the one before has arrived; one without chunks only shows
    /// that the batch is alive.
    pub(crate) async fn store(
        &mut self,
        files: impl Iterator<Item = FileId>,
        chunks: Vec<Chunk>,
    ) -> Result<(), PgError> {
        let file_ids = files.map(|file| file.as_uuid()).collect();
        self.settle().await?;
        let after = self.staging.bursts() + i64::from(!chunks.is_empty());
        self.touched_at = self.storage.now();
        let burst = Burst {
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
        let storing = store_with_retries(self.storage.clone(), burst);
        self.storing = Some(self.storage.database().spawn(storing));
        Ok(())
    }

    /// Waits until the burst that is on its way has arrived.
    pub(crate) async fn settle(&mut self) -> Result<(), PgError> {
        let Some(storing) = &mut self.storing else {
            return Ok(());
        };
        let stored = storing.await;
        self.storing = None;
        stored?
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
            if let Some(storing) = storing {
                drop(storing.await);
            }
            if let Err(error) = sweep::discard_batch(&database, batch_id, now).await {
                let error = Error::from(error);
                warn!(error:% = error.report(); "a discarded batch is left to the sweeper");
            }
        });
    }
}

/// What one statement stores.
#[derive(Debug)]
struct Burst {
    batch_id: Uuid,
    workspace: WorkspaceId,
    file_ids: Vec<Uuid>,
    touched_at: Timestamp,
    /// How the batch was left by the burst before.
    staging: Staging,
    after: i64,
    chunks: Vec<Chunk>,
}

async fn store_with_retries(storage: PgStorage, burst: Burst) -> Result<(), PgError> {
    let mut pauses = RETRY_PAUSES.iter();
    let mut tries = 0;
    loop {
        let outcome = match burst.store(&storage).await {
            // The try before this one was committed, and only its answer was lost.
            Err(error) if tries > 0 && error.is_repetition_in(&STAGING_TABLES) => Ok(()),
            outcome => outcome,
        };
        match (outcome, pauses.next()) {
            (Err(error), Some(pause)) if error.is_transient() => sleep(*pause).await,
            (outcome, _) => return outcome,
        }
        tries += 1;
    }
}

impl Burst {
    async fn store(&self, storage: &PgStorage) -> Result<(), PgError> {
        let before = self.staging.bursts();
        let sql = if before == 0 { FIRST_BURST } else { NEXT_BURST };
        let (workspace, touched_at) = (self.workspace.as_uuid(), SystemTime::from(self.touched_at));
        let chunks = ChunkColumns::of(&self.chunks);
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![
            &self.batch_id,
            &workspace,
            &self.file_ids,
            &touched_at,
            &before,
            &self.after,
        ];
        params.extend(chunks.params());
        let stored = storage.database().query_once(sql, &params).await?;
        if stored.is_empty() {
            return Err(self.staging.why_missing(storage.now()));
        }
        Ok(())
    }
}
