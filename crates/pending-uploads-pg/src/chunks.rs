//! Chunks: how a file's bytes are cut, and how they are sent to the server.

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::SinkExt;
use pending_uploads_core::FileId;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, CopyInSink, GenericClient, Statement};
use uuid::Uuid;

use crate::error::PgError;

/// The size of each chunk but its last of a file that is sent in one piece, in bytes.
pub(crate) const CHUNK_BYTES: usize = 64_000;
/// The size of each chunk but its last of any other file, in bytes: what fits into a page of the
/// database, with a little to spare. Measured: see the decision record on chunk rows.
pub(crate) const PAGE_CHUNK_BYTES: usize = 8_000;
/// The same as the database counts them.
pub(crate) const CHUNK_BYTES_I32: i32 = 64_000;
pub(crate) const PAGE_CHUNK_BYTES_I32: i32 = 8_000;
const _: () = assert!(CHUNK_BYTES == CHUNK_BYTES_I32.unsigned_abs() as usize);
const _: () = assert!(PAGE_CHUNK_BYTES == PAGE_CHUNK_BYTES_I32.unsigned_abs() as usize);

pub(crate) const INSERT: &str = "INSERT INTO pending_upload_chunks (file_id, seq, data) \
     SELECT * FROM unnest($1::uuid[], $2::int4[], $3::bytea[])";
pub(crate) const COPY: &str =
    "COPY pending_upload_chunks (file_id, seq, data) FROM STDIN (FORMAT binary)";

/// The beginning of the binary COPY format: signature, flags, no header extension.
const COPY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// The end of it: a tuple of -1 fields.
const COPY_TRAILER: &[u8] = &(-1_i16).to_be_bytes();
/// What stands in it before a chunk's bytes: three fields; a UUID, an int4, and a length.
const TUPLE_HEAD_BYTES: usize = 2 + (4 + 16) + (4 + 4) + 4;

/// A run of a file's bytes: one row.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    pub(crate) file_id: FileId,
    pub(crate) seq: i32,
    /// Never empty, and at most [`CHUNK_BYTES`].
    pub(crate) data: Bytes,
}

/// Stores chunks in one statement that carries them all: the fewest round trips, for a few.
pub(crate) async fn insert(
    client: &impl GenericClient,
    insert: &Statement,
    chunks: &[Chunk],
) -> Result<u64, tokio_postgres::Error> {
    let columns = ChunkColumns::of(chunks);
    client.execute(insert, &columns.params()).await
}

/// Chunks, laid out as the columns that statements take.
#[derive(Debug, Default)]
pub(crate) struct ChunkColumns<'a> {
    files: Vec<Uuid>,
    seqs: Vec<i32>,
    data: Vec<&'a [u8]>,
}

impl<'a> ChunkColumns<'a> {
    pub(crate) fn of(chunks: &'a [Chunk]) -> Self {
        let mut columns = Self::default();
        for chunk in chunks {
            columns.push(chunk);
        }
        columns
    }

    /// Adds a chunk after the others.
    pub(crate) fn push(&mut self, chunk: &'a Chunk) {
        self.files.push(chunk.file_id.as_uuid());
        self.seqs.push(chunk.seq);
        self.data.push(&chunk.data);
    }

    /// Files, places in them, and bytes, in this order.
    pub(crate) fn params(&self) -> [&(dyn ToSql + Sync); 3] {
        [&self.files, &self.seqs, &self.data]
    }
}

/// Streams chunks by binary COPY: the least work a byte, for many. Each chunk's bytes go to the
/// socket as they are.
pub(crate) async fn copy(
    client: &Client,
    copy: &Statement,
    chunks: &[Chunk],
) -> Result<u64, PgError> {
    let sink: CopyInSink<Bytes> = client.copy_in(copy).await?;
    let mut sink = std::pin::pin!(sink);
    sink.feed(Bytes::from_static(COPY_HEADER)).await?;
    for chunk in chunks {
        sink.feed(tuple_head(chunk)?).await?;
        sink.feed(chunk.data.clone()).await?;
    }
    sink.feed(Bytes::from_static(COPY_TRAILER)).await?;
    Ok(sink.finish().await?)
}

fn tuple_head(chunk: &Chunk) -> Result<Bytes, PgError> {
    let length = i32::try_from(chunk.data.len())
        .map_err(|_| PgError::Damaged("a chunk is too long for a row"))?;
    let mut head = BytesMut::with_capacity(TUPLE_HEAD_BYTES);
    head.put_i16(3);
    head.put_i32(16);
    head.put_slice(chunk.file_id.as_uuid().as_bytes());
    head.put_i32(4);
    head.put_i32(chunk.seq);
    head.put_i32(length);
    Ok(head.freeze())
}
