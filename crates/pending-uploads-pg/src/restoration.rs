//! A database that is being filled: one transaction, from its first row to its last.

use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use futures_util::future::try_join_all;
use pending_uploads_core::{
    Activity, ArchivedWorkspace, CallbackUrl, CheckedBytes, PendingUpload, Restoration, Result,
};
use tokio_postgres::{Client, Statement};

use crate::archive::{self, ArchiveError};
use crate::burst::Burst;
use crate::chunks;
use crate::config::DatabaseConfig;
use crate::error::PgError;
use crate::feed_rows;
use crate::rows;

/// Lets nobody else write, and only one fill.
const TAKE_OVER: &str = "LOCK TABLE workspaces, feed_counters, activity, pending_uploads, \
     pending_upload_chunks, staged_batches IN SHARE ROW EXCLUSIVE MODE";
const IS_EMPTY: &str = "SELECT NOT EXISTS (SELECT FROM workspaces) \
     AND NOT EXISTS (SELECT FROM activity) AND NOT EXISTS (SELECT FROM pending_uploads) \
     AND NOT EXISTS (SELECT FROM pending_upload_chunks) \
     AND NOT EXISTS (SELECT FROM staged_batches) AS is_empty";

const PUT_WORKSPACE: &str = "WITH created AS ( \
         INSERT INTO workspaces (id, delivery_mode, callback_url, agent_card, inbound_secret, \
             token_sha256, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id \
     ) INSERT INTO feed_counters (workspace_id, last_seq) SELECT id, $9 FROM created";
const PUT_UPLOAD: &str = "INSERT INTO pending_uploads (workspace_id, file_id, filename, \
         original_name, mimetype, size_bytes, chunk_bytes, sha256, created_at, expires_at, \
         fetched_at, acked_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";

/// What waits is counted once, when all of it is there.
const COUNT_WAITING: &str = "UPDATE feed_counters AS counter \
     SET waiting_files = waiting.files, waiting_bytes = waiting.bytes \
     FROM (SELECT workspace_id, count(*) AS files, sum(size_bytes)::int8 AS bytes \
         FROM pending_uploads WHERE acked_at IS NULL GROUP BY workspace_id) AS waiting \
     WHERE waiting.workspace_id = counter.workspace_id";

/// How many records, and chunks of small files, are collected before they are sent.
const RECORDS: usize = 500;

/// [`Restoration`] of a database. Its last row is committed with its first; a connection that is
/// lost takes all of it along.
pub struct PgRestoration {
    client: Client,
    statements: Statements,
    burst: Burst,
    /// With the sizes of their chunks.
    records: Vec<(PendingUpload, i32)>,
}

struct Statements {
    workspace: Statement,
    activity: Statement,
    upload: Statement,
    chunks: Statement,
}

impl fmt::Debug for PgRestoration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgRestoration").finish_non_exhaustive()
    }
}

impl PgRestoration {
    /// Connects to a database that is empty and that no server is connected to, and begins to fill
    /// it. Servers are known as [`PgArchive::open`](crate::PgArchive::open) knows them.
    ///
    /// # Errors
    /// Every variant of [`ArchiveError`].
    ///
    /// # Panics
    /// When it is called outside of a tokio runtime.
    pub async fn begin(config: &DatabaseConfig) -> Result<Self, ArchiveError> {
        let (_, client) = archive::connect(config).await?;
        // Asked before, so that a database that somebody else holds is not waited for in vain.
        check_empty(&client).await?;
        archive::lock(config, &client, TAKE_OVER).await?;
        check_empty(&client).await?;
        let statements = Statements::prepare(&client).await.map_err(PgError::from)?;
        Ok(Self {
            client,
            statements,
            burst: Burst::default(),
            records: Vec::new(),
        })
    }

    async fn take_bytes(&mut self, upload: &PendingUpload, mut bytes: CheckedBytes) -> Result<()> {
        while let Some(piece) = bytes.try_next().await? {
            let mut data = &*piece;
            while !data.is_empty() {
                data = self.burst.take(upload.file_id, data)?;
                if self.burst.room() == 0 {
                    self.send_chunks().await?;
                }
            }
        }
        Ok(self.burst.end_file(upload.file_id)?)
    }

    async fn send_chunks(&mut self) -> Result<(), PgError> {
        let chunks = self.burst.take_full()?;
        if !chunks.is_empty() {
            chunks::copy(&self.client, &self.statements.chunks, &chunks).await?;
        }
        Ok(())
    }

    /// Sends the records all at once; the answers are looked at when all have been sent.
    async fn send_records(&mut self) -> Result<(), PgError> {
        let records = std::mem::take(&mut self.records);
        let (client, statement) = (&self.client, &self.statements.upload);
        let sending = records
            .iter()
            .map(|(upload, chunk_bytes)| put_upload(client, statement, upload, *chunk_bytes));
        try_join_all(sending).await?;
        Ok(())
    }
}

impl Statements {
    async fn prepare(client: &Client) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            workspace: client.prepare(PUT_WORKSPACE).await?,
            activity: client.prepare(feed_rows::RESTORE).await?,
            upload: client.prepare(PUT_UPLOAD).await?,
            chunks: client.prepare(chunks::COPY).await?,
        })
    }
}

async fn check_empty(client: &Client) -> Result<(), ArchiveError> {
    let row = client.query_one(IS_EMPTY, &[]).await;
    if rows::column(&row.map_err(PgError::from)?, "is_empty")? {
        Ok(())
    } else {
        Err(ArchiveError::NotEmpty)
    }
}

async fn put_upload(
    client: &Client,
    statement: &Statement,
    upload: &PendingUpload,
    chunk_bytes: i32,
) -> Result<(), PgError> {
    let size_bytes = i64::try_from(upload.size_bytes)
        .map_err(|_| PgError::Damaged("a file is too long to be counted"))?;
    client
        .execute(
            statement,
            &[
                &upload.workspace_id.as_uuid(),
                &upload.file_id.as_uuid(),
                &upload.filename.as_str(),
                &upload.filename.original(),
                &upload.mimetype.as_str(),
                &size_bytes,
                &chunk_bytes,
                &upload.sha256.as_bytes().as_slice(),
                &SystemTime::from(upload.created_at),
                &SystemTime::from(upload.expires_at),
                &upload.fetched_at.map(SystemTime::from),
                &upload.acked_at.map(SystemTime::from),
            ],
        )
        .await?;
    Ok(())
}

#[async_trait]
impl Restoration for PgRestoration {
    async fn put_workspace(
        self: Box<Self>,
        workspace: ArchivedWorkspace,
    ) -> Result<Box<dyn Restoration>> {
        self.client
            .execute(
                &self.statements.workspace,
                &[
                    &workspace.id.as_uuid(),
                    &workspace.delivery_mode.as_str(),
                    &workspace.callback.as_ref().map(CallbackUrl::to_string),
                    &workspace.agent_card,
                    &workspace.inbound_secret.expose(),
                    &workspace.token_digest.as_bytes().as_slice(),
                    &SystemTime::from(workspace.created_at),
                    &SystemTime::from(workspace.updated_at),
                    &workspace.last_seq.0,
                ],
            )
            .await
            .map_err(PgError::from)?;
        Ok(self)
    }

    async fn put_activity(self: Box<Self>, rows: Vec<Activity>) -> Result<Box<dyn Restoration>> {
        feed_rows::restore(&self.client, &self.statements.activity, rows)
            .await
            .map_err(PgError::from)?;
        Ok(self)
    }

    async fn put_upload(
        mut self: Box<Self>,
        upload: PendingUpload,
        bytes: Option<CheckedBytes>,
    ) -> Result<Box<dyn Restoration>> {
        if let Some(bytes) = bytes {
            self.take_bytes(&upload, bytes).await?;
        }
        let chunk_bytes = self.burst.cuts().chunk_bytes(upload.file_id);
        self.records.push((upload, chunk_bytes));
        if self.records.len() >= RECORDS {
            self.send_chunks().await?;
            self.send_records().await?;
            // Nothing is left in it, and how files are cut that were sent need not be known any more.
            self.burst = Burst::default();
        }
        Ok(self)
    }

    async fn finish(mut self: Box<Self>) -> Result<()> {
        self.send_chunks().await?;
        self.send_records().await?;
        Ok(self
            .client
            .batch_execute(&format!("{COUNT_WAITING}; COMMIT"))
            .await
            .map_err(PgError::from)?)
    }
}
