//! The publish step: files and their feed rows become visible together, in one short transaction.

use std::time::SystemTime;

use deadpool_postgres::ClientWrapper;
use futures_util::future::join5;
use pending_uploads_core::{
    ActivityId, NewActivity, PendingUpload, Quota, Seq, Timestamp, WorkspaceId,
};
use tokio_postgres::types::ToSql;
use tokio_postgres::{GenericClient, Statement, Transaction};
use uuid::Uuid;

use crate::chunks::{self, Chunk};
use crate::error::PgError;
use crate::feed_rows::{self, FeedRows};

const INSERT_UPLOADS: &str = "INSERT INTO pending_uploads (workspace_id, file_id, filename, \
         original_name, mimetype, size_bytes, chunk_bytes, sha256, created_at, expires_at) \
     SELECT $1, file_id, filename, original_name, mimetype, size_bytes, $7, sha256, $9, $10 \
     FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::int8[], $8::bytea[]) \
         AS fresh (file_id, filename, original_name, mimetype, size_bytes, sha256)";

/// The batch's own row; none is left when a sweep has taken it for abandoned.
const DELETE_BATCH: &str =
    "DELETE FROM staged_batches WHERE batch_id = $1 AND abandoned_at IS NULL";

/// Asked after the counter's lock was taken: every earlier publish of the workspace has committed,
/// so that what is counted here is exact. The transaction's own rows count.
const WAITING: &str = "SELECT count(*) AS files, coalesce(sum(size_bytes), 0)::int8 AS bytes \
     FROM pending_uploads WHERE workspace_id = $1 AND acked_at IS NULL AND expires_at > $2";

/// The statements of a publish, prepared on one connection.
pub(crate) struct PublishStatements {
    insert_uploads: Statement,
    insert_chunks: Statement,
    delete_batch: Statement,
    append: Statement,
    waiting: Statement,
}

impl PublishStatements {
    /// From the cache of a pooled connection.
    pub(crate) async fn cached(client: &ClientWrapper) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            insert_uploads: client.prepare_cached(INSERT_UPLOADS).await?,
            insert_chunks: client.prepare_cached(chunks::INSERT).await?,
            delete_batch: client.prepare_cached(DELETE_BATCH).await?,
            append: client.prepare_cached(feed_rows::APPEND).await?,
            waiting: client.prepare_cached(WAITING).await?,
        })
    }

    /// For this one time, on a connection that is somebody else's.
    pub(crate) async fn prepared(tx: &Transaction<'_>) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            insert_uploads: tx.prepare(INSERT_UPLOADS).await?,
            insert_chunks: tx.prepare(chunks::INSERT).await?,
            delete_batch: tx.prepare(DELETE_BATCH).await?,
            append: tx.prepare(feed_rows::APPEND).await?,
            waiting: tx.prepare(WAITING).await?,
        })
    }
}

/// Whether a batch has bytes in the store from before its publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Staging {
    /// All its bytes are still in memory.
    InMemory,
    /// It has a row in `staged_batches`.
    InStore,
}

/// All that a publish writes.
pub(crate) struct Publication {
    pub(crate) workspace: WorkspaceId,
    pub(crate) batch_id: Uuid,
    pub(crate) staging: Staging,
    pub(crate) quota: Quota,
    pub(crate) chunk_bytes: i32,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    /// Never empty; all of them with these times.
    pub(crate) uploads: Vec<PendingUpload>,
    /// The bytes that are not in the store yet.
    pub(crate) chunks: Vec<Chunk>,
}

impl Publication {
    /// Writes everything but the commit, in one flight of statements: the answers are looked at
    /// when all have been sent. The first error is the one that counts: it makes the server refuse
    /// the rest.
    pub(crate) async fn write(
        &self,
        client: &impl GenericClient,
        statements: &PublishStatements,
    ) -> Result<(), PgError> {
        let rows = self.feed_rows();
        let (workspace, now) = (self.workspace.as_uuid(), SystemTime::from(self.created_at));
        let waiting: [&(dyn ToSql + Sync); 2] = [&workspace, &now];
        let flight = join5(
            self.insert_uploads(client, statements),
            self.insert_chunks(client, statements),
            self.delete_batch(client, statements),
            rows.append(client, &statements.append, self.workspace, self.created_at),
            client.query_one(&statements.waiting, &waiting),
        );
        let (uploads, chunks, batch, seqs, waiting) = flight.await;
        uploads?;
        chunks?;
        self.check_batch(batch?)?;
        self.check_seqs(&feed_rows::known(seqs?)?)?;
        self.check_quota(&waiting?)
    }

    fn feed_rows(&self) -> FeedRows {
        let mut rows = FeedRows::default();
        for upload in &self.uploads {
            rows.push(ActivityId::generate(), NewActivity::announcement(upload));
        }
        rows
    }

    async fn insert_uploads(
        &self,
        client: &impl GenericClient,
        statements: &PublishStatements,
    ) -> Result<u64, PgError> {
        let column = |text: fn(&PendingUpload) -> &str| -> Vec<&str> {
            self.uploads.iter().map(text).collect()
        };
        let ids: Vec<Uuid> = self
            .uploads
            .iter()
            .map(|upload| upload.file_id.as_uuid())
            .collect();
        let sizes = self
            .uploads
            .iter()
            .map(|upload| i64::try_from(upload.size_bytes))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| PgError::Damaged("a file is too long to be counted"))?;
        let digests: Vec<&[u8]> = self
            .uploads
            .iter()
            .map(|upload| upload.sha256.as_bytes().as_slice())
            .collect();
        let inserted = client
            .execute(
                &statements.insert_uploads,
                &[
                    &self.workspace.as_uuid(),
                    &ids,
                    &column(|upload| upload.filename.as_str()),
                    &column(|upload| upload.filename.original()),
                    &column(|upload| upload.mimetype.as_str()),
                    &sizes,
                    &self.chunk_bytes,
                    &digests,
                    &SystemTime::from(self.created_at),
                    &SystemTime::from(self.expires_at),
                ],
            )
            .await?;
        Ok(inserted)
    }

    async fn insert_chunks(
        &self,
        client: &impl GenericClient,
        statements: &PublishStatements,
    ) -> Result<u64, tokio_postgres::Error> {
        if self.chunks.is_empty() {
            return Ok(0);
        }
        chunks::insert(client, &statements.insert_chunks, &self.chunks).await
    }

    async fn delete_batch(
        &self,
        client: &impl GenericClient,
        statements: &PublishStatements,
    ) -> Result<u64, tokio_postgres::Error> {
        match self.staging {
            Staging::InMemory => Ok(0),
            Staging::InStore => {
                client
                    .execute(&statements.delete_batch, &[&self.batch_id])
                    .await
            }
        }
    }

    fn check_batch(&self, deleted: u64) -> Result<(), PgError> {
        match (self.staging, deleted) {
            (Staging::InMemory, _) | (Staging::InStore, 1) => Ok(()),
            (Staging::InStore, _) => Err(PgError::BatchAbandoned),
        }
    }

    fn check_seqs(&self, seqs: &[Seq]) -> Result<(), PgError> {
        if seqs.len() == self.uploads.len() {
            Ok(())
        } else {
            Err(PgError::Damaged("a feed took fewer rows than it was given"))
        }
    }

    fn check_quota(&self, waiting: &tokio_postgres::Row) -> Result<(), PgError> {
        let files = crate::rows::byte_count(waiting, "files")?;
        let bytes = crate::rows::byte_count(waiting, "bytes")?;
        self.quota
            .check(files, bytes)
            .map_err(PgError::QuotaExceeded)
    }
}
