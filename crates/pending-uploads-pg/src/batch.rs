//! A batch: the files of one request, staged in bursts and published in one transaction.

use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::Object;
use futures_util::future::join;
use pending_uploads_core::{
    Batch, BatchFiles, FileId, Filename, Mimetype, PendingUpload, Result, StagedFile, WorkspaceId,
};
use tokio::time::sleep;
use tokio_postgres::Transaction;

use crate::burst::Burst;
use crate::database::Database;
use crate::error::PgError;
use crate::hints::CHANNEL;
use crate::publish::{Publication, PublishStatements, Staging};
use crate::staged::Staged;
use crate::storage::PgStorage;

/// How long to pause before a burst or a publish that lost its connection is tried again: long
/// enough together for a failover of a connection, and not for a restart of the server.
pub(crate) const RETRY_PAUSES: [Duration; 3] = [
    Duration::from_millis(20),
    Duration::from_millis(200),
    Duration::from_millis(800),
];
/// Where a publish is.
const PUBLISHED_TABLE: [&str; 1] = ["pending_uploads"];

/// A [`Batch`] on PostgreSQL. Beside the trait's methods it has [`publish_in`](Self::publish_in),
/// for services that must commit rows of their own with the files.
#[derive(Debug)]
pub struct PgBatch {
    storage: PgStorage,
    files: BatchFiles,
    burst: Burst,
    staged: Staged,
}

#[async_trait]
impl Batch for PgBatch {
    async fn start_file(&mut self, filename: Filename, mimetype: Mimetype) -> Result<FileId> {
        self.files.start(filename, mimetype)
    }

    async fn write(&mut self, data: &[u8]) -> Result<()> {
        let file_id = self.files.take(data)?;
        self.collect(file_id, data).await?;
        self.files.done();
        Ok(())
    }

    async fn finish_file(&mut self) -> Result<StagedFile> {
        let staged = self.files.finish()?;
        self.burst.end_file(staged.file_id)?;
        self.files.done();
        Ok(staged)
    }

    async fn show_life(&mut self) -> Result<()> {
        self.files.show_life()?;
        if self.staged.is_due() {
            self.staged.store(self.files.ids(), Vec::new()).await?;
            self.staged.settle().await?;
        }
        self.files.done();
        Ok(())
    }

    async fn publish(mut self: Box<Self>) -> Result<Vec<PendingUpload>> {
        self.files.check_publishable()?;
        self.staged.settle().await?;
        let publication = self.publication()?;
        let database = self.storage.database();
        let uploads = match publication.staging {
            Staging::InMemory => self.storage.publish(publication).await?,
            Staging::InStore { .. } => {
                let work = publish_alone(database.clone(), publication, Attempt::First);
                database.run(work).await?
            }
        };
        self.staged.published();
        Ok(uploads)
    }
}

impl PgBatch {
    pub(crate) fn new(storage: PgStorage, workspace: WorkspaceId) -> Self {
        Self {
            staged: Staged::new(&storage, workspace),
            storage,
            files: BatchFiles::new(workspace),
            burst: Burst::default(),
        }
    }

    /// Publishes inside a transaction of the caller's: the files and their feed rows become visible
    /// with whatever else it commits, or not at all.
    ///
    /// Do it last: from here to the commit the transaction holds the lock of the workspace's feed,
    /// and every other publish and message for the workspace waits. Readers in every instance are
    /// woken by the commit. When the transaction is rolled back, nothing was published, and staged
    /// bytes are deleted soon or by the sweeper. It is not tried again when the connection is lost:
    /// that is for the owner of the transaction to do.
    ///
    /// **Roll back when this future is dropped,** as after an error: what it has sent is under way, and
    /// a commit behind it could publish files whose quota nobody has checked. A transaction that is
    /// dropped rolls back by itself.
    ///
    /// # Errors
    /// Those of [`Batch::publish`]; after any of them the transaction can only be rolled back.
    pub async fn publish_in(mut self, tx: &Transaction<'_>) -> Result<Vec<PendingUpload>> {
        self.files.check_publishable()?;
        self.staged.settle().await?;
        let publication = self.publication()?;
        let statements = PublishStatements::prepared(tx)
            .await
            .map_err(PgError::from)?;
        publication.write(tx, &statements).await?;
        tx.execute(
            "SELECT pg_notify($1, $2)",
            &[&CHANNEL, &publication.workspace.to_string()],
        )
        .await
        .map_err(PgError::from)?;
        Ok(publication.uploads)
    }

    async fn collect(&mut self, file_id: FileId, mut data: &[u8]) -> Result<(), PgError> {
        while !data.is_empty() {
            data = self.burst.take(file_id, data)?;
            if self.burst.room() == 0 {
                let chunks = self.burst.take_full()?;
                self.staged.store(self.files.ids(), chunks).await?;
            }
        }
        if self.staged.is_due() {
            self.staged.store(self.files.ids(), Vec::new()).await?;
        }
        Ok(())
    }

    fn publication(&self) -> Result<Publication> {
        let (created_at, config) = (self.storage.now(), self.storage.config());
        Ok(Publication {
            workspace: self.files.workspace(),
            batch_id: self.staged.batch_id(),
            staging: self.staged.staging(),
            quota: config.quota,
            cuts: self.burst.cuts().clone(),
            created_at,
            expires_at: created_at.saturating_add(config.ttl),
            uploads: self.files.records(created_at, config.ttl)?,
            chunks: self.burst.left()?,
        })
    }
}

/// Whether something may have been tried before, and have been committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// It was not.
    First,
    /// Its answer may only have been lost.
    Repeated,
}

/// Publishes in a transaction of its own, waits for the feed's lock, and tries again when the
/// connection is lost.
pub(crate) async fn publish_alone(
    database: Database,
    publication: Publication,
    mut attempt: Attempt,
) -> Result<Vec<PendingUpload>, PgError> {
    let mut pauses = RETRY_PAUSES.iter();
    loop {
        let outcome = match publish_once(&database, &publication).await {
            // The ids are ours alone: whoever published them was the try before this one.
            Err(error)
                if attempt == Attempt::Repeated && error.is_repetition_in(&PUBLISHED_TABLE) =>
            {
                Ok(())
            }
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
        attempt = Attempt::Repeated;
    }
}

async fn publish_once(database: &Database, publication: &Publication) -> Result<(), PgError> {
    let (client, _at_a_feed) = database.client_for_a_feed().await?;
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
