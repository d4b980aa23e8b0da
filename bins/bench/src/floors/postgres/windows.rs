//! The floor of large fetches: the windows of a file, read and dropped.

use std::time::SystemTime;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use super::FloorDatabase;
use super::copy::{Commits, Copier, copiers};
use super::rows::FloorFile;
use crate::error::BenchError;
use crate::floors::FloorError;
use crate::load::{Extent, Worker, Yield, drive};

/// How much of a file one query reads.
const WINDOW_BYTES: u64 = 512 * 1024;
/// How many windows of a file are asked for at once: one is being handled while the next is on its
/// way. Ours asks for one more, over another connection, while few fetches are under way.
const WINDOWS_IN_FLIGHT: usize = 2;
/// How many bytes of files are stored for a load at most, but for the one that is always there.
const STORED_BYTES: u64 = 1024 * 1024 * 1024;

const WINDOW: &str = "SELECT upload.size_bytes, upload.chunk_bytes, chunk.seq, chunk.data \
     FROM pending_uploads AS upload \
     LEFT JOIN pending_upload_chunks AS chunk ON chunk.file_id = upload.file_id \
         AND chunk.seq BETWEEN $4::int8 / upload.chunk_bytes AND ($5::int8 - 1) / upload.chunk_bytes \
     WHERE upload.file_id = $1 AND upload.workspace_id = $2 \
         AND upload.acked_at IS NULL AND upload.expires_at > $3 \
     ORDER BY chunk.seq";

/// Reads files of `size` bytes from their first to their last, over `at_once` connections. One file
/// for each is stored before the clock runs; together they are 1 GiB at most, and shared when there
/// are fewer than connections.
pub(crate) async fn windows(
    database: &FloorDatabase,
    size: u64,
    at_once: usize,
    extent: Extent,
) -> Result<Yield, BenchError> {
    let fitting = usize::try_from(STORED_BYTES / size.max(1)).unwrap_or(usize::MAX);
    let files = store(database, size, at_once.min(fitting).max(1)).await?;
    let clients = database.connections(at_once).await?;
    let mut workers = Vec::with_capacity(at_once);
    for (client, (file_id, workspace)) in clients.into_iter().zip(files.iter().cycle()) {
        workers.push(Reader {
            window: client.prepare(WINDOW).await.map_err(FloorError::from)?,
            client,
            file_id: *file_id,
            workspace: *workspace,
            size,
        });
    }
    drive(workers, extent).await
}

async fn store(
    database: &FloorDatabase,
    size: u64,
    count: usize,
) -> Result<Vec<(Uuid, Uuid)>, FloorError> {
    let copiers = copiers(database, size, Commits::EachFile, count).await?;
    let stored = stream::iter(&copiers).then(Copier::store);
    let ids = |file: FloorFile| (file.file_id, file.workspace);
    stored.map_ok(ids).try_collect().await
}

struct Reader {
    client: Client,
    window: Statement,
    file_id: Uuid,
    workspace: Uuid,
    size: u64,
}

impl Worker for Reader {
    async fn turn(&mut self) -> Result<u64, BenchError> {
        let this = &*self;
        let starts = (0..this.size.div_ceil(WINDOW_BYTES)).map(|window| window * WINDOW_BYTES);
        let windows = stream::iter(starts.map(|start| this.window(start)));
        let read: u64 = windows
            .buffered(WINDOWS_IN_FLIGHT)
            .try_fold(0, async |sum, bytes| Ok(sum + bytes))
            .await?;
        if read == this.size {
            Ok(read)
        } else {
            Err(FloorError::Missing("a piece of a file").into())
        }
    }
}

impl Reader {
    /// Reads a window and drops it; answers its length.
    async fn window(&self, start: u64) -> Result<u64, FloorError> {
        let end = self.size.min(start + WINDOW_BYTES);
        let rows = self
            .client
            .query(
                &self.window,
                &[
                    &self.file_id,
                    &self.workspace,
                    &SystemTime::now(),
                    &i64::try_from(start)?,
                    &i64::try_from(end)?,
                ],
            )
            .await?;
        let mut read = 0;
        for row in &rows {
            read += row.try_get::<_, &[u8]>("data")?.len() as u64;
        }
        Ok(read)
    }
}
