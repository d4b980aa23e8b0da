//! The floor of large uploads: the same chunk rows by binary COPY, and the same publish.

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::SinkExt;
use futures_util::future::{join, join3};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, CopyInSink, Statement};
use uuid::Uuid;

use super::FloorDatabase;
use super::rows::{FloorFile, Placement, PublishStatements, chunks, one};
use crate::error::BenchError;
use crate::floors::{Content, FloorError};
use crate::load::{Extent, Worker, Yield, drive};

/// How much one transaction takes when each burst has its own: about 1 MB.
const BURST_CHUNKS: usize = 128;

const COPY: &str = "COPY pending_upload_chunks (file_id, seq, data) FROM STDIN (FORMAT binary)";
const INSERT_BATCH: &str = "INSERT INTO staged_batches (batch_id, file_ids, touched_at, \
     workspace_id) VALUES ($1, $2, $3, $4)";
const TOUCH_BATCH: &str = "UPDATE staged_batches SET file_ids = $2, touched_at = $3 \
     WHERE batch_id = $1 AND workspace_id = $4 AND abandoned_at IS NULL";

/// Signature, flags, no header extension.
const COPY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// A tuple of -1 fields.
const COPY_TRAILER: &[u8] = &[0xFF, 0xFF];

/// How often the bytes of a file are committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Commits {
    /// After each MiB, with the note that it is there, and synced: no connection and no transaction
    /// is held while the next one arrives. Ours takes less at once, and waits for no disk.
    EachBurst,
    /// Once, by one COPY and with the publish: what the database could do for a client that is all
    /// there at once.
    EachFile,
}

/// Stores and publishes files of `size` bytes, over `at_once` connections.
pub(crate) async fn copy(
    database: &FloorDatabase,
    size: u64,
    commits: Commits,
    at_once: usize,
    extent: Extent,
) -> Result<Yield, BenchError> {
    drive(copiers(database, size, commits, at_once).await?, extent).await
}

/// The workers of such a load.
pub(super) async fn copiers(
    database: &FloorDatabase,
    size: u64,
    commits: Commits,
    at_once: usize,
) -> Result<Vec<Copier>, FloorError> {
    let workspaces = database.workspaces(at_once).await?;
    let clients = database.connections(at_once).await?;
    let mut workers = Vec::with_capacity(at_once);
    for (workspace, client) in workspaces.into_iter().zip(clients) {
        workers.push(Copier {
            copy: client.prepare(COPY).await?,
            insert_batch: client.prepare(INSERT_BATCH).await?,
            touch_batch: client.prepare(TOUCH_BATCH).await?,
            publish: PublishStatements::prepare(&client).await?,
            client,
            workspace,
            content: database.content().clone(),
            size,
            commits,
        });
    }
    Ok(workers)
}

pub(super) struct Copier {
    client: Client,
    copy: Statement,
    insert_batch: Statement,
    touch_batch: Statement,
    publish: PublishStatements,
    workspace: Uuid,
    content: Content,
    size: u64,
    commits: Commits,
}

impl Worker for Copier {
    async fn turn(&mut self) -> Result<u64, BenchError> {
        self.store().await?;
        Ok(self.size)
    }
}

impl Copier {
    /// Stores and publishes one file, and answers which.
    pub(super) async fn store(&self) -> Result<FloorFile, FloorError> {
        let file = FloorFile::new(self.workspace, self.size);
        let placement = match self.commits {
            Commits::EachBurst => Placement::Staged(self.stage(&file).await?),
            Commits::EachFile => {
                self.client.batch_execute("BEGIN").await?;
                let sink = self.client.copy_in(&self.copy).await?;
                let all = chunks(&self.content, self.size);
                send(sink, &file, 0, all).await?;
                Placement::Copied
            }
        };
        self.publish.publish(&self.client, &file, placement).await?;
        Ok(file)
    }

    async fn stage(&self, file: &FloorFile) -> Result<Uuid, FloorError> {
        let batch = Uuid::now_v7();
        let mut pieces = chunks(&self.content, self.size).peekable();
        let (mut note, mut seq) = (&self.insert_batch, 0);
        while pieces.peek().is_some() {
            let burst = pieces.by_ref().take(BURST_CHUNKS);
            seq = self.burst((note, batch), file, seq, burst).await?;
            note = &self.touch_batch;
        }
        Ok(batch)
    }

    /// One transaction in two flights: the server says in between that it is ready for the bytes.
    async fn burst(
        &self,
        (note, batch): (&Statement, Uuid),
        file: &FloorFile,
        seq: i32,
        pieces: impl Iterator<Item = Bytes>,
    ) -> Result<i32, FloorError> {
        let files = [file.file_id];
        let params: [&(dyn ToSql + Sync); 4] =
            [&batch, &files.as_slice(), &file.created_at, &file.workspace];
        let (begun, noted, sink) = join3(
            self.client.batch_execute("BEGIN"),
            self.client.execute(note, &params),
            self.client.copy_in(&self.copy),
        )
        .await;
        begun?;
        one(noted?, "the batch")?;
        let sent = send(sink?, file, seq, pieces);
        // The commit waits behind the bytes, on the same connection.
        let (sent, committed) = join(sent, self.client.batch_execute("COMMIT")).await;
        committed?;
        sent
    }
}

/// Sends chunk rows from a number on; answers the number after the last.
async fn send(
    sink: CopyInSink<Bytes>,
    file: &FloorFile,
    mut seq: i32,
    pieces: impl Iterator<Item = Bytes>,
) -> Result<i32, FloorError> {
    let mut sink = std::pin::pin!(sink);
    sink.feed(Bytes::from_static(COPY_HEADER)).await?;
    for piece in pieces {
        sink.feed(tuple_head(file.file_id, seq, &piece)?).await?;
        sink.feed(piece).await?;
        seq += 1;
    }
    sink.feed(Bytes::from_static(COPY_TRAILER)).await?;
    sink.finish().await?;
    Ok(seq)
}

/// What stands before a chunk's bytes: three fields; a UUID, an int4, and a length.
fn tuple_head(file_id: Uuid, seq: i32, piece: &Bytes) -> Result<Bytes, FloorError> {
    let mut head = BytesMut::with_capacity(34);
    head.put_i16(3);
    head.put_i32(16);
    head.put_slice(file_id.as_bytes());
    head.put_i32(4);
    head.put_i32(seq);
    head.put_i32(i32::try_from(piece.len())?);
    Ok(head.freeze())
}
