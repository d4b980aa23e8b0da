//! The publish step: files and their feed rows become visible together, in one short transaction.

use std::time::SystemTime;

use deadpool_postgres::ClientWrapper;
use futures_util::future::join5;
use pending_uploads_core::{
    ActivityId, NewActivity, PendingUpload, Quota, Seq, Timestamp, WorkspaceId,
};
use tokio_postgres::types::ToSql;
use tokio_postgres::{GenericClient, Row, Statement, Transaction};
use uuid::Uuid;

use crate::chunks::{self, Chunk};
use crate::cuts::Cuts;
use crate::error::PgError;
use crate::feed_rows::{self, FeedRows};

const INSERT_UPLOADS: &str = "INSERT INTO pending_uploads (workspace_id, file_id, filename, \
         original_name, mimetype, size_bytes, chunk_bytes, sha256, created_at, expires_at) \
     SELECT $1, file_id, filename, original_name, mimetype, size_bytes, chunk_bytes, sha256, $9, $10 \
     FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::int8[], $7::int4[], \
             $8::bytea[]) \
         AS fresh (file_id, filename, original_name, mimetype, size_bytes, chunk_bytes, sha256)";

/// The batch's own row. There is none when a sweep has taken it for abandoned, which none does before
/// its lease is over, or when a crash of the database has made it forget bursts that nobody was
/// promised.
const DELETE_BATCH: &str =
    "DELETE FROM staged_batches WHERE batch_id = $1 AND abandoned_at IS NULL AND bursts = $2";

/// Sent after the counter's lock was taken: every earlier publish of the workspace has committed, so
/// that what is counted here is exact, the transaction's own rows with it. It is counted only when
/// the bounds of what waits, with $3 files of $4 bytes more, would pass the quota, $5 files of $6
/// bytes; each half of the union has a condition that is looked at before any row is.
const COUNT_WAITING: &str = "UPDATE feed_counters AS counter SET (waiting_files, waiting_bytes) = ( \
         SELECT counter.waiting_files + $3::int8, counter.waiting_bytes + $4::int8 \
         WHERE counter.waiting_files + $3 <= $5::int8 AND counter.waiting_bytes + $4 <= $6::int8 \
         UNION ALL \
         SELECT count(*), coalesce(sum(size_bytes), 0)::int8 FROM pending_uploads \
         WHERE workspace_id = $1 AND acked_at IS NULL AND expires_at > $2 \
             AND NOT (counter.waiting_files + $3 <= $5 AND counter.waiting_bytes + $4 <= $6) \
         HAVING NOT (counter.waiting_files + $3 <= $5 AND counter.waiting_bytes + $4 <= $6) \
     ) WHERE workspace_id = $1 RETURNING waiting_files AS files, waiting_bytes AS bytes";

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
            waiting: client.prepare_cached(COUNT_WAITING).await?,
        })
    }

    /// For this one time, on a connection that is somebody else's.
    pub(crate) async fn prepared(tx: &Transaction<'_>) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            insert_uploads: tx.prepare(INSERT_UPLOADS).await?,
            insert_chunks: tx.prepare(chunks::INSERT).await?,
            delete_batch: tx.prepare(DELETE_BATCH).await?,
            append: tx.prepare(feed_rows::APPEND).await?,
            waiting: tx.prepare(COUNT_WAITING).await?,
        })
    }
}

/// Whether a batch has bytes in the store from before its publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Staging {
    /// All its bytes are still in memory.
    InMemory,
    /// It has a row in `staged_batches`, and has stored so many bursts.
    InStore {
        bursts: i64,
        /// When a sweep may take the batch for abandoned.
        lease_end: Timestamp,
    },
}

impl Staging {
    /// How many bursts the store was given.
    pub(crate) fn bursts(self) -> i64 {
        match self {
            Self::InMemory => 0,
            Self::InStore { bursts, .. } => bursts,
        }
    }

    /// Why the batch is not in the store as it was left.
    pub(crate) fn why_missing(self, now: Timestamp) -> PgError {
        match self {
            Self::InStore { lease_end, .. } if lease_end <= now => PgError::BatchAbandoned,
            _ => PgError::StagingLost,
        }
    }
}

/// All that a publish writes.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) workspace: WorkspaceId,
    pub(crate) batch_id: Uuid,
    pub(crate) staging: Staging,
    pub(crate) quota: Quota,
    pub(crate) cuts: Cuts,
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
        let mut rows = FeedRows::default();
        self.announce_in(&mut rows);
        let flight = join5(
            self.insert_uploads(client, statements),
            self.insert_chunks(client, statements),
            self.delete_batch(client, statements),
            rows.append(client, &statements.append, self.workspace, self.created_at),
            self.count_waiting(client, statements),
        );
        let (uploads, chunks, batch, seqs, waiting) = flight.await;
        uploads?;
        chunks?;
        self.check_batch(batch?)?;
        self.check_seqs(&feed_rows::known(seqs?)?)?;
        self.check_quota(waiting?.as_ref())
    }

    /// How many files are published, as the database counts.
    pub(crate) fn file_count(&self) -> i64 {
        i64::try_from(self.uploads.len()).unwrap_or(i64::MAX)
    }

    /// How many bytes they have together, as the database counts.
    pub(crate) fn byte_count(&self) -> i64 {
        let bytes = self
            .uploads
            .iter()
            .map(|upload| upload.size_bytes)
            .sum::<u64>();
        i64::try_from(bytes).unwrap_or(i64::MAX)
    }

    /// How many bytes are not in the store yet.
    pub(crate) fn bytes_in_memory(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.data.len()).sum()
    }

    /// Adds the rows that announce the files, in their order.
    pub(crate) fn announce_in(&self, rows: &mut FeedRows) {
        for upload in &self.uploads {
            rows.push(ActivityId::generate(), NewActivity::announcement(upload));
        }
    }

    async fn insert_uploads(
        &self,
        client: &impl GenericClient,
        statements: &PublishStatements,
    ) -> Result<u64, PgError> {
        let mut records = UploadColumns::default();
        for upload in &self.uploads {
            records.push(upload, &self.cuts)?;
        }
        let workspace = self.workspace.as_uuid();
        let (created, expires) = (
            SystemTime::from(self.created_at),
            SystemTime::from(self.expires_at),
        );
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![&workspace];
        params.extend(records.params());
        params.extend::<[&(dyn ToSql + Sync); 2]>([&created, &expires]);
        let inserted = client.execute(&statements.insert_uploads, &params).await?;
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
            Staging::InStore { bursts, .. } => {
                client
                    .execute(&statements.delete_batch, &[&self.batch_id, &bursts])
                    .await
            }
        }
    }

    async fn count_waiting(
        &self,
        client: &impl GenericClient,
        statements: &PublishStatements,
    ) -> Result<Option<Row>, tokio_postgres::Error> {
        let (workspace, now) = (self.workspace.as_uuid(), SystemTime::from(self.created_at));
        let (max_files, max_bytes) = quota_counts(self.quota);
        let params: [&(dyn ToSql + Sync); 6] = [
            &workspace,
            &now,
            &self.file_count(),
            &self.byte_count(),
            &max_files,
            &max_bytes,
        ];
        client.query_opt(&statements.waiting, &params).await
    }

    fn check_batch(&self, deleted: u64) -> Result<(), PgError> {
        match (self.staging, deleted) {
            (Staging::InMemory, _) | (Staging::InStore { .. }, 1) => Ok(()),
            (Staging::InStore { .. }, _) => Err(self.staging.why_missing(self.created_at)),
        }
    }

    fn check_seqs(&self, seqs: &[Seq]) -> Result<(), PgError> {
        if seqs.len() == self.uploads.len() {
            Ok(())
        } else {
            Err(PgError::Damaged("a feed took fewer rows than it was given"))
        }
    }

    /// No row is an unknown workspace, which has been told before.
    fn check_quota(&self, waiting: Option<&Row>) -> Result<(), PgError> {
        let waiting = waiting.ok_or(PgError::UnknownWorkspace)?;
        let files = crate::rows::byte_count(waiting, "files")?;
        let bytes = crate::rows::byte_count(waiting, "bytes")?;
        self.quota
            .check(files, bytes)
            .map_err(PgError::QuotaExceeded)
    }
}

/// A quota, files and bytes, as the database counts.
pub(crate) fn quota_counts(quota: Quota) -> (i64, i64) {
    let bytes = i64::try_from(quota.waiting_bytes).unwrap_or(i64::MAX);
    (i64::from(quota.waiting_files), bytes)
}

/// What the records of files have each for itself, as columns.
#[derive(Debug, Default)]
pub(crate) struct UploadColumns<'a> {
    ids: Vec<Uuid>,
    names: Vec<&'a str>,
    originals: Vec<&'a str>,
    mimetypes: Vec<&'a str>,
    sizes: Vec<i64>,
    chunk_bytes: Vec<i32>,
    digests: Vec<&'a [u8]>,
}

impl<'a> UploadColumns<'a> {
    /// Adds a record after the others.
    pub(crate) fn push(&mut self, upload: &'a PendingUpload, cuts: &Cuts) -> Result<(), PgError> {
        let size = i64::try_from(upload.size_bytes)
            .map_err(|_| PgError::Damaged("a file is too long to be counted"))?;
        self.ids.push(upload.file_id.as_uuid());
        self.names.push(upload.filename.as_str());
        self.originals.push(upload.filename.original());
        self.mimetypes.push(upload.mimetype.as_str());
        self.sizes.push(size);
        self.chunk_bytes.push(cuts.chunk_bytes(upload.file_id));
        self.digests.push(upload.sha256.as_bytes());
        Ok(())
    }

    /// Ids, names, original names, media types, sizes of files and of their chunks, and digests, in
    /// this order.
    pub(crate) fn params(&self) -> [&(dyn ToSql + Sync); 7] {
        [
            &self.ids,
            &self.names,
            &self.originals,
            &self.mimetypes,
            &self.sizes,
            &self.chunk_bytes,
            &self.digests,
        ]
    }
}
