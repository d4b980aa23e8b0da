//! The floor of large fetches: the windows of a file, read and dropped.

use std::sync::Arc;
use std::time::SystemTime;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio_postgres::{Client, Statement};

use super::FloorDatabase;
use super::copy::{Commits, Copier, copiers};
use super::rows::FloorFile;
use crate::error::BenchError;
use crate::floors::FloorError;
use crate::load::{Extent, Worker, Yield, drive};
use crate::scenarios::files_to_fetch;

/// How much of a file one query reads.
const WINDOW_BYTES: u64 = 512_000;
/// How many windows of a file are asked for at once: one is being handled while the next is on its
/// way. Ours asks for one more, over another connection, while few fetches are under way.
const WINDOWS_IN_FLIGHT: usize = 2;

const WINDOW: &str = "SELECT upload.size_bytes, upload.chunk_bytes, chunk.seq, chunk.data \
     FROM pending_uploads AS upload \
     LEFT JOIN LATERAL (SELECT seq, data FROM pending_upload_chunks AS chunk \
         WHERE chunk.file_id = upload.file_id AND chunk.seq \
             BETWEEN $4::int8 / upload.chunk_bytes AND ($5::int8 - 1) / upload.chunk_bytes \
         OFFSET 0) AS chunk ON true \
     WHERE upload.file_id = $1 AND upload.workspace_id = $2 \
         AND upload.acked_at IS NULL AND upload.expires_at > $3";

/// Reads files of `size` bytes from their first to their last, over `at_once` connections, each of
/// which begins with another file and goes on with the next. There are as many files as our own
/// server is asked for: more bytes than the database keeps in memory.
pub(crate) async fn windows(
    database: &FloorDatabase,
    size: u64,
    at_once: usize,
    extent: Extent,
) -> Result<Yield, BenchError> {
    let files: Arc<[_]> = store(database, size).await?.into();
    let clients = database.connections(at_once).await?;
    let mut workers = Vec::with_capacity(at_once);
    for (client, next) in clients.into_iter().zip(0..) {
        workers.push(Reader {
            window: client.prepare(WINDOW).await.map_err(FloorError::from)?,
            client,
            files: files.clone(),
            next,
            size,
        });
    }
    drive(workers, extent).await
}

async fn store(database: &FloorDatabase, size: u64) -> Result<Vec<FloorFile>, FloorError> {
    let copiers = copiers(database, size, Commits::EachFile, 1).await?;
    let count = usize::try_from(files_to_fetch(size))?;
    let copiers = stream::iter(copiers.iter().cycle().take(count));
    copiers.then(Copier::store).try_collect().await
}

struct Reader {
    client: Client,
    window: Statement,
    files: Arc<[FloorFile]>,
    /// Which of the files is read next, counted on and on.
    next: usize,
    size: u64,
}

impl Worker for Reader {
    async fn turn(&mut self) -> Result<u64, BenchError> {
        let at = self.next.checked_rem(self.files.len()).unwrap_or(0);
        self.next += 1;
        let this = &*self;
        let file = this.files.get(at).ok_or(FloorError::Missing("a file"))?;
        let starts = (0..this.size.div_ceil(WINDOW_BYTES)).map(|window| window * WINDOW_BYTES);
        let windows = stream::iter(starts.map(|start| this.window(file, start)));
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
    async fn window(&self, file: &FloorFile, start: u64) -> Result<u64, FloorError> {
        let end = self.size.min(start + WINDOW_BYTES);
        let rows = self
            .client
            .query(
                &self.window,
                &[
                    &file.file_id,
                    &file.workspace,
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
