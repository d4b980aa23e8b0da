//! The store of files: look-ups on the narrow table, reads in windows.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{StreamExt, try_unfold};
use pending_uploads_core::{
    Acked, Batch, ByteRange, ByteStream, CheckedAck, Clock, Error, FileId, ListAfter, Opened,
    PendingUpload, Result, Sha256, Stats, Storage, StorageConfig, SweepPolicy, Swept, Timestamp,
    WorkspaceId,
};
use tokio::task::JoinHandle;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::batch::PgBatch;
use crate::chunks::PAGE_CHUNK_BYTES;
use crate::database::Database;
use crate::error::PgError;
use crate::files::{Acks, Asked, AskedAck, FetchNotes, LookUps, Now, Opens};
use crate::lanes::Lanes;
use crate::pace::{Company, Crowd, Member};
use crate::publish::Publication;
use crate::publisher::Publishing;
use crate::rows::{self, upload_columns};
use crate::stats;
use crate::sweep;

/// How much of a file one query reads, in bytes: whole chunks.
const WINDOW_BYTES: u64 = 64 * PAGE_CHUNK_BYTES as u64;

/// How many windows are read while one is being sent, each over a connection of its own. With one, the
/// database waits for the reader again and again, unless others are read meanwhile.
const fn windows_ahead(company: Company) -> usize {
    match company {
        Company::Few => 2,
        Company::Many => 1,
    }
}

/// The chunks that hold the bytes from $4 up to $5 of a file that may still be handed over; the
/// left join tells a file without them from no file. The file is found by its id, and by no other
/// index: see `files.rs`. So are its chunks, by their numbers, too: with `OFFSET 0` they cannot be
/// joined in another way, which would read all of a file for each window. They come in no promised
/// order: the database would copy them to sort them.
const WINDOW: &str = "SELECT upload.size_bytes, upload.chunk_bytes, chunk.seq, chunk.data \
     FROM pending_uploads AS upload \
     LEFT JOIN LATERAL (SELECT seq, data FROM pending_upload_chunks AS chunk \
         WHERE chunk.file_id = upload.file_id AND chunk.seq \
             BETWEEN $4::int8 / upload.chunk_bytes AND ($5::int8 - 1) / upload.chunk_bytes \
         OFFSET 0) AS chunk ON true \
     WHERE upload.file_id = $1 AND (upload.workspace_id = $2 \
         AND upload.acked_at IS NULL AND upload.expires_at > $3) IS TRUE";

const LIST: &str = concat!(
    "SELECT ",
    upload_columns!(),
    " FROM pending_uploads WHERE workspace_id = $1 AND acked_at IS NULL AND expires_at > $2 \
     AND (created_at, file_id) > ($3, $4) ORDER BY created_at, file_id LIMIT $5"
);

/// [`Storage`] on PostgreSQL. Clones share everything.
#[derive(Debug, Clone)]
pub struct PgStorage {
    database: Database,
    config: StorageConfig,
    clock: Arc<dyn Clock>,
    lanes: Arc<AllLanes>,
    crowds: Arc<Crowds>,
}

/// What is done for many at once.
#[derive(Debug)]
struct AllLanes {
    publishing: Lanes<Publishing>,
    look_ups: Lanes<LookUps>,
    opens: Lanes<Opens>,
    acks: Lanes<Acks>,
    fetch_notes: Lanes<FetchNotes>,
}

/// Who does what takes long.
#[derive(Debug, Default)]
struct Crowds {
    writers: Crowd,
    readers: Crowd,
}

impl PgStorage {
    /// A store on `database`.
    pub fn new(database: &Database, config: StorageConfig, clock: Arc<dyn Clock>) -> Self {
        let quota = config.quota;
        let lanes = AllLanes {
            publishing: Lanes::new(Publishing { quota }),
            look_ups: Lanes::new(LookUps {
                clock: clock.clone(),
            }),
            opens: Lanes::new(Opens {
                clock: clock.clone(),
            }),
            acks: Lanes::new(Acks {
                clock: clock.clone(),
            }),
            fetch_notes: Lanes::new(FetchNotes {
                clock: clock.clone(),
            }),
        };
        Self {
            database: database.clone(),
            config,
            clock,
            lanes: Arc::new(lanes),
            crowds: Arc::default(),
        }
    }

    /// As [`Storage::begin`], but answers the batch itself, which can also
    /// [`publish_in`](PgBatch::publish_in) a transaction of the caller's.
    pub fn begin_batch(&self, workspace: WorkspaceId) -> PgBatch {
        PgBatch::new(self.clone(), workspace)
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// Publishes what has all its bytes in memory, together with others.
    pub(crate) async fn publish(
        &self,
        publication: Publication,
    ) -> Result<Vec<PendingUpload>, PgError> {
        self.lanes.publishing.run(&self.database, publication).await
    }

    pub(crate) fn config(&self) -> &StorageConfig {
        &self.config
    }

    /// The batches that are stored in bursts.
    pub(crate) fn writers(&self) -> &Crowd {
        &self.crowds.writers
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

#[async_trait]
impl Storage for PgStorage {
    async fn begin(&self, workspace: WorkspaceId) -> Result<Box<dyn Batch>> {
        Ok(Box::new(self.begin_batch(workspace)))
    }

    async fn get(&self, workspace: WorkspaceId, file: FileId) -> Result<PendingUpload> {
        let asked = Asked { workspace, file };
        let found = self.lanes.look_ups.run(&self.database, asked).await?;
        found.ok_or(Error::NotFound)
    }

    async fn open(&self, workspace: WorkspaceId, file: FileId) -> Result<Opened> {
        let asked = Asked { workspace, file };
        let found = self.lanes.opens.run(&self.database, asked).await?;
        found.ok_or(Error::NotFound)
    }

    async fn read(
        &self,
        workspace: WorkspaceId,
        file: FileId,
        range: ByteRange,
    ) -> Result<ByteStream> {
        let reader = Reader {
            storage: self.clone(),
            workspace,
            file,
            end: range.end(),
        };
        let mut reading = Reading {
            pieces: VecDeque::new(),
            on_their_way: VecDeque::new(),
            asked: range.start(),
            member: self.crowds.readers.join(),
            reader,
        };
        reading.ask();
        reading.arrive().await?;
        Ok(try_unfold(reading, Reading::piece).boxed())
    }

    async fn mark_fetched(&self, workspace: WorkspaceId, file: FileId) -> Result<()> {
        let asked = Asked { workspace, file };
        Ok(self.lanes.fetch_notes.run(&self.database, asked).await?)
    }

    async fn ack(&self, workspace: WorkspaceId, file: FileId) -> Result<Acked> {
        let acked = self.ack_checked(workspace, file, None).await?;
        acked.acked().ok_or(Error::NotFound)
    }

    async fn ack_checked(
        &self,
        workspace: WorkspaceId,
        file: FileId,
        claimed: Option<Sha256>,
    ) -> Result<CheckedAck> {
        let asked = Asked { workspace, file };
        let ack = AskedAck { asked, claimed };
        Ok(self.lanes.acks.run(&self.database, ack).await?)
    }

    async fn list(
        &self,
        workspace: WorkspaceId,
        after: Option<ListAfter>,
        limit: u32,
    ) -> Result<Vec<PendingUpload>> {
        let (created_at, file_id) = after.map_or((UNIX_EPOCH, Uuid::nil()), |after| {
            (after.created_at.into(), after.file_id.as_uuid())
        });
        let now = Now(&*self.clock);
        let rows = self
            .database
            .query(
                LIST,
                &[
                    &workspace.as_uuid(),
                    &now,
                    &created_at,
                    &file_id,
                    &i64::from(limit),
                ],
            )
            .await?;
        Ok(rows
            .iter()
            .map(rows::pending_upload)
            .collect::<Result<_, _>>()?)
    }

    async fn sweep(&self, policy: &SweepPolicy) -> Result<Swept> {
        let (database, policy, now) = (self.database.clone(), *policy, self.now());
        let work = async move { Ok(sweep::step(&database, &policy, now).await) };
        self.database.run(work).await?
    }

    async fn stats(&self) -> Result<Stats> {
        Ok(stats::stats(&self.database, self.now()).await?)
    }
}

/// What is needed to read the windows of one download.
#[derive(Clone)]
struct Reader {
    storage: PgStorage,
    workspace: WorkspaceId,
    file: FileId,
    end: u64,
}

impl Reader {
    /// Reads from `start` to the next window border, or to the end.
    async fn window(&self, start: u64) -> Result<VecDeque<Bytes>, PgError> {
        let end = self.border(start);
        let offset = |at| i64::try_from(at).map_err(|_| PgError::NotFound);
        // A connection may be waited for: what expires meanwhile is not handed over.
        let now = Now(&*self.storage.clock);
        let rows = self
            .storage
            .database
            .query(
                WINDOW,
                &[
                    &self.file.as_uuid(),
                    &self.workspace.as_uuid(),
                    &now,
                    &offset(start)?,
                    &offset(end)?,
                ],
            )
            .await?;
        let size_bytes = rows::byte_count(rows.first().ok_or(PgError::NotFound)?, "size_bytes")?;
        if self.end > size_bytes {
            return Err(PgError::RangeNotSatisfiable { size_bytes });
        }
        let mut pieces = rows
            .into_iter()
            .map(|row| piece(row, start, end))
            .collect::<Result<Vec<_>, _>>()?;
        pieces.sort_by_key(|(seq, _)| *seq);
        let held: u64 = pieces.iter().map(|(_, piece)| piece.len() as u64).sum();
        if held == end - start {
            Ok(pieces.into_iter().map(|(_, piece)| piece).collect())
        } else {
            Err(PgError::Damaged("bytes of a file are missing"))
        }
    }

    /// Where the window ends that begins at `start`.
    fn border(&self, start: u64) -> u64 {
        let border = (start / WINDOW_BYTES + 1).saturating_mul(WINDOW_BYTES);
        border.min(self.end)
    }
}

/// The part of a chunk that lies between two offsets of its file, with its place. It is not copied out
/// of the row: what shares its memory are the other rows of its window, and what else the connection
/// has read into the same buffer.
fn piece(row: Row, start: u64, end: u64) -> Result<(i32, Bytes), PgError> {
    let missing = || PgError::Damaged("bytes of a file are missing");
    let chunk_bytes: i32 = rows::column(&row, "chunk_bytes")?;
    let seq: Option<i32> = rows::column(&row, "seq")?;
    let data: Option<&[u8]> = rows::column(&row, "data")?;
    let (seq, data) = seq.zip(data).ok_or_else(missing)?;
    let at = u64::try_from(i64::from(seq) * i64::from(chunk_bytes)).map_err(|_| missing())?;
    let within = |offset: u64| usize::try_from(offset.saturating_sub(at)).unwrap_or(usize::MAX);
    let kept = within(start)..within(end).min(data.len());
    if kept.is_empty() {
        return Err(missing());
    }
    Ok((seq, Bytes::from_owner(ChunkRow(row)).slice(kept)))
}

/// A row that owns the bytes of its chunk.
struct ChunkRow(Row);

impl AsRef<[u8]> for ChunkRow {
    fn as_ref(&self) -> &[u8] {
        let data: Option<&[u8]> = rows::column(&self.0, "data").ok();
        data.unwrap_or_default()
    }
}

/// One download: the pieces at hand, and the windows that are on their way.
struct Reading {
    pieces: VecDeque<Bytes>,
    on_their_way: VecDeque<JoinHandle<Result<VecDeque<Bytes>, PgError>>>,
    /// Where the next window begins that is to be asked for.
    asked: u64,
    member: Member,
    reader: Reader,
}

impl Reading {
    async fn piece(mut self) -> Result<Option<(Bytes, Self)>> {
        if self.pieces.is_empty() {
            self.arrive().await?;
        }
        Ok(self.pieces.pop_front().map(|piece| (piece, self)))
    }

    /// Waits for the next window, if there is one, and asks for one more.
    async fn arrive(&mut self) -> Result<(), PgError> {
        if let Some(next) = self.on_their_way.pop_front() {
            self.pieces = next.await??;
            self.ask();
        }
        Ok(())
    }

    /// Asks for as many windows as may be on their way.
    fn ask(&mut self) {
        let ahead = windows_ahead(self.member.company());
        while self.on_their_way.len() < ahead && self.asked < self.reader.end {
            let (reader, start) = (self.reader.clone(), self.asked);
            self.asked = reader.border(start);
            let window = async move { reader.window(start).await };
            let database = &self.reader.storage.database;
            self.on_their_way.push_back(database.spawn(window));
        }
    }
}

/// Windows that nobody waits for need not be read.
impl Drop for Reading {
    fn drop(&mut self) {
        for window in &self.on_their_way {
            window.abort();
        }
    }
}
