//! A batch: the files of one request, staged in bursts and published in one transaction.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use deadpool_postgres::Object;
use futures_util::future::join;
use log::warn;
use pending_uploads_core::{
    Batch, BatchMisuse, Error, FileId, Filename, Mimetype, PendingUpload, Result, Sha256,
    Sha256Hasher, StagedFile, Timestamp, WorkspaceId,
};
use tokio::time::sleep;
use tokio_postgres::Transaction;
use uuid::Uuid;

use crate::burst::Burst;
use crate::chunks::{self, CHUNK_BYTES_I32, Chunk};
use crate::database::Database;
use crate::error::PgError;
use crate::hints::CHANNEL;
use crate::publish::{Publication, PublishStatements, Staging};
use crate::storage::PgStorage;
use crate::sweep;

/// How long to pause before a burst or a publish that lost its connection is tried again: long
/// enough together for a failover of a connection, and not for a restart of the server.
const RETRY_PAUSES: [Duration; 3] = [
    Duration::from_millis(20),
    Duration::from_millis(200),
    Duration::from_millis(800),
];
/// The part of its lease after which a batch that stays under a burst shows that it is alive.
const RENEWED_AFTER: u32 = 4;

/// Where a burst that is sent again after it was committed is found to be there already.
const STAGING_TABLES: [&str; 2] = ["staged_batches", "pending_upload_chunks"];
/// Where a publish is.
const PUBLISHED_TABLE: [&str; 1] = ["pending_uploads"];

const INSERT_BATCH: &str = "INSERT INTO staged_batches (batch_id, file_ids, touched_at, \
     workspace_id) VALUES ($1, $2, $3, $4)";
const TOUCH_BATCH: &str = "UPDATE staged_batches SET file_ids = $2, touched_at = $3 \
     WHERE batch_id = $1 AND workspace_id = $4 AND abandoned_at IS NULL";

/// A [`Batch`] on PostgreSQL. Beside the trait's methods it has [`publish_in`](Self::publish_in),
/// for services that must commit rows of their own with the files.
#[derive(Debug)]
pub struct PgBatch {
    storage: PgStorage,
    workspace: WorkspaceId,
    batch_id: Uuid,
    health: Health,
    staging: Staging,
    touched_at: Timestamp,
    finished: Vec<FinishedFile>,
    open: Option<OpenFile>,
    burst: Burst,
}

/// Broken while a call is under way: one that fails or is dropped leaves it so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Sound,
    Broken,
}

#[derive(Debug)]
struct OpenFile {
    file_id: FileId,
    filename: Filename,
    mimetype: Mimetype,
    size_bytes: u64,
    hasher: Sha256Hasher,
}

#[derive(Debug)]
struct FinishedFile {
    file_id: FileId,
    filename: Filename,
    mimetype: Mimetype,
    size_bytes: u64,
    sha256: Sha256,
}

#[async_trait]
impl Batch for PgBatch {
    async fn start_file(&mut self, filename: Filename, mimetype: Mimetype) -> Result<FileId> {
        self.check_sound()?;
        if self.open.is_some() {
            return Err(self.misused(BatchMisuse::FileStillOpen));
        }
        let file_id = FileId::generate();
        let hasher = Sha256Hasher::new();
        self.open = Some(OpenFile {
            file_id,
            filename,
            mimetype,
            size_bytes: 0,
            hasher,
        });
        Ok(file_id)
    }

    async fn write(&mut self, data: &[u8]) -> Result<()> {
        self.check_sound()?;
        let Some(file) = &mut self.open else {
            return Err(self.misused(BatchMisuse::NoFileOpen));
        };
        file.hasher.update(data);
        file.size_bytes += data.len() as u64;
        let file_id = file.file_id;
        self.health = Health::Broken;
        self.collect(file_id, data).await?;
        self.health = Health::Sound;
        Ok(())
    }

    async fn finish_file(&mut self) -> Result<StagedFile> {
        self.check_sound()?;
        let Some(file) = self.open.take() else {
            return Err(self.misused(BatchMisuse::NoFileOpen));
        };
        self.health = Health::Broken;
        self.burst.end_file(file.file_id)?;
        if file.size_bytes == 0 {
            return Err(Error::EmptyFile {
                filename: file.filename,
            });
        }
        let file = FinishedFile {
            file_id: file.file_id,
            filename: file.filename,
            mimetype: file.mimetype,
            size_bytes: file.size_bytes,
            sha256: file.hasher.finish(),
        };
        let staged = StagedFile {
            file_id: file.file_id,
            size_bytes: file.size_bytes,
            sha256: file.sha256,
        };
        self.finished.push(file);
        self.health = Health::Sound;
        Ok(staged)
    }

    async fn publish(mut self: Box<Self>) -> Result<Vec<PendingUpload>> {
        let publication = self.publication()?;
        let database = self.storage.database().clone();
        let work = publish_with_retries(database, publication);
        let uploads = self.storage.database().run(work).await?;
        // There is nothing left to discard.
        self.staging = Staging::InMemory;
        Ok(uploads)
    }
}

impl PgBatch {
    pub(crate) fn new(storage: PgStorage, workspace: WorkspaceId) -> Self {
        let touched_at = storage.now();
        Self {
            storage,
            workspace,
            batch_id: Uuid::now_v7(),
            health: Health::Sound,
            staging: Staging::InMemory,
            touched_at,
            finished: Vec::new(),
            open: None,
            burst: Burst::default(),
        }
    }

    /// Publishes inside a transaction of the caller's: the files and their feed rows become visible
    /// with whatever else it commits, or not at all.
    ///
    /// Do it last: from here to the commit the transaction holds the lock of the workspace's feed,
    /// and every other publish and message for the workspace waits. Readers in every instance are
    /// woken by the commit. When the transaction is rolled back, or this future is dropped, nothing
    /// was published, and staged bytes are deleted soon or by the sweeper. It is not tried again
    /// when the connection is lost: that is for the owner of the transaction to do.
    ///
    /// # Errors
    /// Those of [`Batch::publish`]; after any of them the transaction can only be rolled back.
    pub async fn publish_in(self, tx: &Transaction<'_>) -> Result<Vec<PendingUpload>> {
        let publication = self.publication()?;
        let statements = PublishStatements::prepared(tx)
            .await
            .map_err(PgError::from)?;
        publication.write(tx, &statements).await?;
        tx.execute(
            "SELECT pg_notify($1, $2)",
            &[&CHANNEL, &self.workspace.to_string()],
        )
        .await
        .map_err(PgError::from)?;
        Ok(publication.uploads)
    }

    fn check_sound(&self) -> Result<()> {
        match self.health {
            Health::Sound => Ok(()),
            Health::Broken => Err(Error::BatchMisused(BatchMisuse::Broken)),
        }
    }

    fn misused(&mut self, misuse: BatchMisuse) -> Error {
        self.health = Health::Broken;
        Error::BatchMisused(misuse)
    }

    async fn collect(&mut self, file_id: FileId, mut data: &[u8]) -> Result<(), PgError> {
        while !data.is_empty() {
            data = self.burst.take(file_id, data)?;
            if self.burst.room() == 0 {
                let chunks = self.burst.take_full();
                self.store(chunks).await?;
            }
        }
        let lease = self.storage.config().staging_lease;
        let silent_since = self.touched_at.saturating_add(lease / RENEWED_AFTER);
        if self.staging == Staging::InStore && silent_since < self.storage.now() {
            self.store(Vec::new()).await?;
        }
        Ok(())
    }

    /// Sends chunks to the store, and shows that the batch is alive.
    async fn store(&mut self, chunks: Vec<Chunk>) -> Result<(), PgError> {
        let touched_at = self.storage.now();
        let open = self.open.iter().map(|file| file.file_id);
        let file_ids = self.finished.iter().map(|file| file.file_id).chain(open);
        let burst = StoredBurst {
            workspace: self.workspace,
            batch_id: self.batch_id,
            staging: self.staging,
            file_ids: file_ids.map(|id| id.as_uuid()).collect(),
            touched_at,
            chunks,
        };
        // Before the call: a dropped future may yet have stored something.
        self.staging = Staging::InStore;
        let database = self.storage.database();
        database
            .run(store_with_retries(database.clone(), burst))
            .await?;
        self.touched_at = touched_at;
        Ok(())
    }

    fn publication(&self) -> Result<Publication> {
        self.check_sound()?;
        if self.open.is_some() {
            return Err(Error::BatchMisused(BatchMisuse::FileStillOpen));
        }
        if self.finished.is_empty() {
            return Err(Error::BatchMisused(BatchMisuse::NoFiles));
        }
        let created_at = self.storage.now();
        let expires_at = created_at.saturating_add(self.storage.config().ttl);
        let uploads = self.finished.iter().map(|file| PendingUpload {
            file_id: file.file_id,
            workspace_id: self.workspace,
            filename: file.filename.clone(),
            mimetype: file.mimetype.clone(),
            size_bytes: file.size_bytes,
            sha256: file.sha256,
            created_at,
            expires_at,
            fetched_at: None,
            acked_at: None,
        });
        Ok(Publication {
            workspace: self.workspace,
            batch_id: self.batch_id,
            staging: self.staging,
            quota: self.storage.config().quota,
            chunk_bytes: CHUNK_BYTES_I32,
            created_at,
            expires_at,
            uploads: uploads.collect(),
            chunks: self.burst.full().to_vec(),
        })
    }
}

/// Deletes what was staged, soon; the sweeper does it should this fail.
impl Drop for PgBatch {
    fn drop(&mut self) {
        if self.staging == Staging::InStore {
            let database = self.storage.database().clone();
            let (batch_id, now) = (self.batch_id, self.storage.now());
            self.storage.database().spawn(async move {
                if let Err(error) = sweep::discard_batch(&database, batch_id, now).await {
                    let error = Error::from(error);
                    warn!(error:% = error.report(); "a discarded batch is left to the sweeper");
                }
            });
        }
    }
}

struct StoredBurst {
    workspace: WorkspaceId,
    batch_id: Uuid,
    staging: Staging,
    file_ids: Vec<Uuid>,
    touched_at: Timestamp,
    chunks: Vec<Chunk>,
}

async fn store_with_retries(database: Database, burst: StoredBurst) -> Result<(), PgError> {
    let mut pauses = RETRY_PAUSES.iter();
    let mut tries = 0;
    loop {
        let outcome = match store_once(&database, &burst).await {
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

async fn store_once(database: &Database, burst: &StoredBurst) -> Result<(), PgError> {
    let client = database.client().await?;
    let note = match burst.staging {
        Staging::InMemory => client.prepare_cached(INSERT_BATCH).await?,
        Staging::InStore => client.prepare_cached(TOUCH_BATCH).await?,
    };
    let copy = client.prepare_cached(chunks::COPY).await?;
    let work = async {
        let touched_at = SystemTime::from(burst.touched_at);
        let workspace = burst.workspace.as_uuid();
        let (begun, noted) = join(
            client.batch_execute("BEGIN"),
            client.execute(
                &note,
                &[&burst.batch_id, &burst.file_ids, &touched_at, &workspace],
            ),
        )
        .await;
        begun?;
        if noted? != 1 {
            return Err(PgError::BatchAbandoned);
        }
        if !burst.chunks.is_empty() {
            chunks::copy(&client, &copy, &burst.chunks).await?;
        }
        Ok(())
    };
    let worked = work.await;
    end_transaction(client, worked).await
}

async fn publish_with_retries(
    database: Database,
    publication: Publication,
) -> Result<Vec<PendingUpload>, PgError> {
    let mut pauses = RETRY_PAUSES.iter();
    let mut tries = 0;
    loop {
        let outcome = match publish_once(&database, &publication).await {
            // The ids are ours alone: whoever published them was the try before this one.
            Err(error) if tries > 0 && error.is_repetition_in(&PUBLISHED_TABLE) => Ok(()),
            outcome => outcome,
        };
        match (outcome, pauses.next()) {
            (Err(error), Some(pause)) if error.is_transient() => sleep(*pause).await,
            (outcome, _) => {
                outcome?;
                // Here, so that readers are woken even when the caller has gone away.
                database.announce(publication.workspace);
                return Ok(publication.uploads);
            }
        }
        tries += 1;
    }
}

async fn publish_once(database: &Database, publication: &Publication) -> Result<(), PgError> {
    let client = database.client().await?;
    let statements = PublishStatements::cached(&client).await?;
    let work = async {
        let (begun, written) = join(
            client.batch_execute("BEGIN"),
            publication.write(&**client, &statements),
        )
        .await;
        begun?;
        written
    };
    let worked = work.await;
    end_transaction(client, worked).await
}

/// Commits what worked and rolls back what did not. A connection whose transaction could not be
/// ended never goes back to the pool.
pub(crate) async fn end_transaction<T>(
    client: Object,
    worked: Result<T, PgError>,
) -> Result<T, PgError> {
    let ended = match &worked {
        Ok(_) => client.batch_execute("COMMIT").await,
        Err(_) => client.batch_execute("ROLLBACK").await,
    };
    if let Err(error) = ended {
        drop(Object::take(client));
        return worked.and(Err(error.into()));
    }
    worked
}
