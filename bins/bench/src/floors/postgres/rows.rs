//! The rows of a published file, and the statements that write them.

use std::time::SystemTime;

use bytes::Bytes;
use futures_util::future::join5;
use serde_json::{Value, json};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use super::TTL;
use crate::floors::{Content, FloorError};

/// The largest file that ours sends in one piece.
const ONE_PIECE_BYTES: u64 = 192_000;

const FILENAME: &str = "floor.bin";
const SUMMARY: &str = "chat_upload_receive: floor.bin";
const MIMETYPE: &str = "application/octet-stream";
/// A digest that nobody has taken.
const DIGEST: &[u8; 32] = &[0xA5; 32];

const INSERT_UPLOAD: &str = "INSERT INTO pending_uploads (file_id, workspace_id, filename, \
         original_name, mimetype, size_bytes, chunk_bytes, sha256, created_at, expires_at) \
     VALUES ($1, $2, $3, $3, $4, $5, $6, $7, $8, $9)";
const INSERT_CHUNKS: &str = "INSERT INTO pending_upload_chunks (file_id, seq, data) \
     SELECT $1, (ordinality - 1)::int4, data FROM unnest($2::bytea[]) WITH ORDINALITY AS fresh (data)";
const DELETE_BATCH: &str =
    "DELETE FROM staged_batches WHERE batch_id = $1 AND abandoned_at IS NULL";
const APPEND: &str = "WITH counter AS ( \
         UPDATE feed_counters SET last_seq = last_seq + 1, waiting_files = waiting_files + 1, \
             waiting_bytes = waiting_bytes + $6 \
         WHERE workspace_id = $1 RETURNING last_seq) \
     INSERT INTO activity (workspace_id, seq, id, activity_type, target_id, method, summary, \
         request_body, status, created_at) \
     SELECT $1, last_seq, $2, 'a2a_receive', $1, 'chat_upload_receive', $3, $4, 'ok', $5 \
     FROM counter";

/// All of a small file in one statement.
const PUBLISH: &str = "WITH upload AS ( \
         INSERT INTO pending_uploads (file_id, workspace_id, filename, original_name, mimetype, \
             size_bytes, chunk_bytes, sha256, created_at, expires_at) \
         VALUES ($1, $2, $3, $3, $4, $5, $6, $7, $8, $9) \
     ), chunks AS ( \
         INSERT INTO pending_upload_chunks (file_id, seq, data) \
         SELECT $1, (ordinality - 1)::int4, data FROM unnest($10::bytea[]) WITH ORDINALITY AS fresh (data) \
     ), counter AS ( \
         UPDATE feed_counters SET last_seq = last_seq + 1, waiting_files = waiting_files + 1, \
             waiting_bytes = waiting_bytes + $5 \
         WHERE workspace_id = $2 RETURNING last_seq) \
     INSERT INTO activity (workspace_id, seq, id, activity_type, target_id, method, summary, \
         request_body, status, created_at) \
     SELECT $2, last_seq, $11, 'a2a_receive', $2, 'chat_upload_receive', $12, $13, 'ok', $8 \
     FROM counter";

/// A file that is being stored.
#[derive(Debug)]
pub(super) struct FloorFile {
    pub(super) file_id: Uuid,
    pub(super) workspace: Uuid,
    size: u64,
    pub(super) created_at: SystemTime,
}

impl FloorFile {
    pub(super) fn new(workspace: Uuid, size: u64) -> Self {
        Self {
            file_id: Uuid::now_v7(),
            workspace,
            size,
            created_at: SystemTime::now(),
        }
    }

    fn announcement(&self) -> Value {
        json!({
            "file_id": self.file_id,
            "name": FILENAME,
            "mimeType": MIMETYPE,
            "size": self.size,
            "uri": format!("platform-pending:{}/{}", self.workspace, self.file_id),
            "originalName": FILENAME,
            "sha256": "a5".repeat(DIGEST.len()),
        })
    }
}

/// The size of a chunk row of a file of so many bytes: as ours cuts it.
const fn chunk_bytes(size: u64) -> u16 {
    if size <= ONE_PIECE_BYTES {
        64_000
    } else {
        8_000
    }
}

/// The bytes of a file, as its rows take them.
pub(super) fn chunks(content: &Content, size: u64) -> impl Iterator<Item = Bytes> {
    content.pieces(size, chunk_bytes(size).into())
}

/// Where the bytes of a file are when it is published.
#[derive(Debug, Clone, Copy)]
pub(super) enum Placement<'a> {
    /// Still in memory: they are sent in the publish's own flight.
    Chunks(&'a [Bytes]),
    /// In the store, with an intent row of this batch.
    Staged(Uuid),
    /// In the open transaction, of which nobody else has seen anything.
    Copied,
}

/// The statements of a publish, prepared on one connection.
#[derive(Debug)]
pub(super) struct PublishStatements {
    upload: Statement,
    chunks: Statement,
    delete_batch: Statement,
    append: Statement,
    publish: Statement,
}

impl PublishStatements {
    pub(super) async fn prepare(client: &Client) -> Result<Self, FloorError> {
        Ok(Self {
            upload: client.prepare(INSERT_UPLOAD).await?,
            chunks: client.prepare(INSERT_CHUNKS).await?,
            delete_batch: client.prepare(DELETE_BATCH).await?,
            append: client.prepare(APPEND).await?,
            publish: client.prepare(PUBLISH).await?,
        })
    }

    /// The statements that our publish sends, its commit among them, in one flight: one round trip.
    pub(super) async fn publish(
        &self,
        client: &Client,
        file: &FloorFile,
        placement: Placement<'_>,
    ) -> Result<(), FloorError> {
        let (begun, uploaded, settled, appended, committed) = join5(
            begin(client, placement),
            self.insert_upload(client, file),
            self.settle(client, file, placement),
            self.append(client, file),
            client.batch_execute("COMMIT"),
        )
        .await;
        begun?;
        uploaded?;
        settled?;
        committed?;
        one(appended?, "the feed's counter")
    }

    /// All rows of a small file in one statement, which is a transaction of its own.
    pub(super) async fn publish_at_once(
        &self,
        client: &Client,
        file: &FloorFile,
        chunks: &[Bytes],
    ) -> Result<(), FloorError> {
        let appended = client
            .execute(
                &self.publish,
                &[
                    &file.file_id,
                    &file.workspace,
                    &FILENAME,
                    &MIMETYPE,
                    &i64::try_from(file.size)?,
                    &i32::from(chunk_bytes(file.size)),
                    &DIGEST.as_slice(),
                    &file.created_at,
                    &(file.created_at + TTL),
                    &slices(chunks),
                    &Uuid::now_v7(),
                    &SUMMARY,
                    &file.announcement(),
                ],
            )
            .await?;
        one(appended, "the feed's counter")
    }

    async fn insert_upload(&self, client: &Client, file: &FloorFile) -> Result<u64, FloorError> {
        let inserted = client
            .execute(
                &self.upload,
                &[
                    &file.file_id,
                    &file.workspace,
                    &FILENAME,
                    &MIMETYPE,
                    &i64::try_from(file.size)?,
                    &i32::from(chunk_bytes(file.size)),
                    &DIGEST.as_slice(),
                    &file.created_at,
                    &(file.created_at + TTL),
                ],
            )
            .await?;
        Ok(inserted)
    }

    async fn settle(
        &self,
        client: &Client,
        file: &FloorFile,
        placement: Placement<'_>,
    ) -> Result<(), FloorError> {
        match placement {
            Placement::Chunks(chunks) => {
                let params: [&(dyn ToSql + Sync); 2] = [&file.file_id, &slices(chunks)];
                client.execute(&self.chunks, &params).await?;
                Ok(())
            }
            Placement::Staged(batch) => {
                let deleted = client.execute(&self.delete_batch, &[&batch]).await?;
                one(deleted, "the batch")
            }
            Placement::Copied => Ok(()),
        }
    }

    async fn append(&self, client: &Client, file: &FloorFile) -> Result<u64, FloorError> {
        let params: [&(dyn ToSql + Sync); 6] = [
            &file.workspace,
            &Uuid::now_v7(),
            &SUMMARY,
            &file.announcement(),
            &file.created_at,
            &i64::try_from(file.size)?,
        ];
        Ok(client.execute(&self.append, &params).await?)
    }
}

async fn begin(client: &Client, placement: Placement<'_>) -> Result<(), tokio_postgres::Error> {
    match placement {
        Placement::Chunks(_) | Placement::Staged(_) => client.batch_execute("BEGIN").await,
        Placement::Copied => Ok(()),
    }
}

fn slices(chunks: &[Bytes]) -> Vec<&[u8]> {
    chunks.iter().map(|chunk| &**chunk).collect()
}

/// A loop that changes nothing would be a very fast one.
pub(super) fn one(changed: u64, what: &'static str) -> Result<(), FloorError> {
    if changed == 1 {
        Ok(())
    } else {
        Err(FloorError::Missing(what))
    }
}
