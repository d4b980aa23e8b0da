//! The store of files: look-ups on the narrow table, reads in windows.

use std::fs::File;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{StreamExt, try_unfold};
use pending_uploads_core::{
    Acked, Batch, ByteRange, ByteStream, CheckedAck, Clock, Error, FileId, ListAfter, Opened,
    PendingUpload, Result, Sha256, Stats, Storage, StorageConfig, SweepPolicy, Swept, Timestamp,
    WorkspaceId,
};
use rusqlite::{Connection, OptionalExtension, params};
use tokio::task::JoinHandle;

use crate::batch::SqliteBatch;
use crate::bundle::Slot;
use crate::database::Database;
use crate::error::SqliteError;
use crate::fetch_notes::{self, FetchNote};
use crate::files;
use crate::folder::Folder;
use crate::rows::{self, Id, Location, Time, key, location_columns, signed, upload_columns};
use crate::stats;
use crate::sweep;
use crate::writer::Promise;

/// How much of a file is read at once, in bytes. While one window is being sent the next is read, so
/// that twice this is held for each reader; the disk is asked for the one after that.
const WINDOW_BYTES: u64 = 512 * 1024;

const GET: &str = concat!(
    "SELECT ",
    upload_columns!(),
    " FROM pending_uploads WHERE file_id = ?1 AND workspace_id = ?2 AND expires_at > ?3"
);

const OPEN: &str = concat!(
    "SELECT ",
    upload_columns!(),
    ", ",
    location_columns!(),
    " FROM pending_uploads WHERE file_id = ?1 AND workspace_id = ?2 AND expires_at > ?3"
);
const ALL_BYTES: &str = "SELECT data FROM pending_upload_bytes WHERE file_id = ?1";

/// Whether a file's bytes may still be handed over, and where they are.
const READABLE: &str = concat!(
    "SELECT size_bytes, ",
    location_columns!(),
    " FROM pending_uploads \
     WHERE file_id = ?1 AND workspace_id = ?2 AND acked_at IS NULL AND expires_at > ?3"
);
const BYTES: &str = "SELECT substr(data, ?2, ?3) FROM pending_upload_bytes WHERE file_id = ?1";

/// ?4 is the digest that the file must have, if it is one.
const ACK: &str = concat!(
    "UPDATE pending_uploads SET acked_at = ?3 \
     WHERE file_id = ?1 AND workspace_id = ?2 AND acked_at IS NULL AND expires_at > ?3 \
         AND (?4 IS NULL OR sha256 = ?4) RETURNING ",
    upload_columns!()
);
const NOT_ACKED: &str = "SELECT acked_at, sha256 FROM pending_uploads \
     WHERE file_id = ?1 AND workspace_id = ?2 AND expires_at > ?3";

const LIST: &str = concat!(
    "SELECT ",
    upload_columns!(),
    " FROM pending_uploads WHERE workspace_id = ?1 AND acked_at IS NULL AND expires_at > ?2 \
     AND (created_at, file_id) > (?3, ?4) ORDER BY created_at, file_id LIMIT ?5"
);

/// [`Storage`] on SQLite. Clones share everything.
#[derive(Debug, Clone)]
pub struct SqliteStorage {
    database: Database,
    config: StorageConfig,
    clock: Arc<dyn Clock>,
}

impl SqliteStorage {
    /// A store in `database`.
    pub fn new(database: &Database, config: StorageConfig, clock: Arc<dyn Clock>) -> Self {
        Self {
            database: database.clone(),
            config,
            clock,
        }
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    pub(crate) fn config(&self) -> &StorageConfig {
        &self.config
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

#[async_trait]
impl Storage for SqliteStorage {
    async fn begin(&self, workspace: WorkspaceId) -> Result<Box<dyn Batch>> {
        Ok(Box::new(SqliteBatch::new(self.clone(), workspace)))
    }

    async fn get(&self, workspace: WorkspaceId, file: FileId) -> Result<PendingUpload> {
        let clock = Arc::clone(&self.clock);
        let work = move |connection: &Connection| {
            let mut get = connection.prepare_cached(GET)?;
            let mut found = get.query(key(workspace, file, clock.now()))?;
            rows::pending_upload(found.next()?.ok_or(SqliteError::NotFound)?)
        };
        Ok(self.database.readers().read(work).await?)
    }

    async fn open(&self, workspace: WorkspaceId, file: FileId) -> Result<Opened> {
        let clock = Arc::clone(&self.clock);
        let look =
            move |connection: &Connection| open(connection, key(workspace, file, clock.now()));
        let folder = Arc::clone(self.database.folder());
        let take = move |(upload, bytes)| {
            Ok(Opened {
                bytes: take(&folder, &upload, bytes)?,
                upload,
            })
        };
        Ok(self.database.readers().read_then(look, take).await?)
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
        let first = reader.window(range.start(), None).await?;
        let reading = Reading::after(reader, first);
        Ok(try_unfold(reading, Reading::piece).boxed())
    }

    async fn mark_fetched(&self, workspace: WorkspaceId, file: FileId) -> Result<()> {
        let at = self.now();
        let note = FetchNote {
            workspace,
            file,
            at,
        };
        Ok(fetch_notes::write(&self.database, note).await?)
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
        let now = self.now();
        let work =
            move |connection: &Connection| ack(connection, key(workspace, file, now), claimed);
        Ok(self.database.writer().write(Promise::Durable, work).await?)
    }

    async fn list(
        &self,
        workspace: WorkspaceId,
        after: Option<ListAfter>,
        limit: u32,
    ) -> Result<Vec<PendingUpload>> {
        let now = self.now();
        let (created_at, file_id) = after.map_or(
            (Timestamp::from_micros(i64::MIN), uuid::Uuid::nil()),
            |after| (after.created_at, after.file_id.as_uuid()),
        );
        let work = move |connection: &Connection| {
            let mut list = connection.prepare_cached(LIST)?;
            let mut found = list.query(params![
                Id(workspace.as_uuid()),
                Time(now),
                Time(created_at),
                Id(file_id),
                limit
            ])?;
            let mut uploads = Vec::new();
            while let Some(row) = found.next()? {
                uploads.push(rows::pending_upload(row)?);
            }
            Ok(uploads)
        };
        Ok(self.database.readers().read(work).await?)
    }

    async fn sweep(&self, policy: &SweepPolicy) -> Result<Swept> {
        let step = sweep::step(self.database.clone(), *policy, self.now());
        self.database.run(async move { Ok(step.await) }).await?
    }

    async fn stats(&self) -> Result<Stats> {
        let (now, staged_files) = (self.now(), self.database.staged().file_count());
        let work = move |connection: &Connection| stats::stats(connection, now, staged_files);
        Ok(self.database.readers().read(work).await?)
    }
}

/// The bytes that come with a record.
enum AtOnce {
    /// None: the file is large, or may not be handed over any more.
    Nothing,
    Row(Vec<u8>),
    Bundle(Slot),
}

/// What lies in a row or a bundle comes with the record.
fn open(
    connection: &Connection,
    key: (Id, Id, Time),
) -> Result<(PendingUpload, AtOnce), SqliteError> {
    let file = key.0;
    let mut open = connection.prepare_cached(OPEN)?;
    let mut found = open.query(key)?;
    let row = found.next()?.ok_or(SqliteError::NotFound)?;
    let upload = rows::pending_upload(row)?;
    if upload.acked_at.is_some() {
        return Ok((upload, AtOnce::Nothing));
    }
    let bytes = match rows::location(row)? {
        Location::Row => {
            let mut all = connection.prepare_cached(ALL_BYTES)?;
            let data: Option<Vec<u8>> = all.query_row([file], |row| row.get(0)).optional()?;
            let whole = data.filter(|data| data.len() as u64 == upload.size_bytes);
            whole.map_or(AtOnce::Nothing, AtOnce::Row)
        }
        Location::Bundle(slot) => AtOnce::Bundle(slot),
        Location::File => AtOnce::Nothing,
    };
    Ok((upload, bytes))
}

/// Bytes that are missing are looked for once more, and missed, when they are read. Zeros may be a
/// hole: in the copy of a folder, for one, that was still being copied when the sweep made it.
fn take(
    folder: &Folder,
    upload: &PendingUpload,
    bytes: AtOnce,
) -> Result<Option<Bytes>, SqliteError> {
    let slot = match bytes {
        AtOnce::Nothing => return Ok(None),
        AtOnce::Row(data) => return Ok(Some(data.into())),
        AtOnce::Bundle(slot) => slot,
    };
    let Some(mut bundle) = folder.open_file(slot.bundle)? else {
        return Ok(None);
    };
    let data = files::read_at(&mut bundle, slot.offset, upload.size_bytes)?;
    let may_be_hole = data.iter().all(|byte| *byte == 0);
    if may_be_hole && Sha256::of(&data) != upload.sha256 {
        return Err(SqliteError::Damaged("a file's bytes are gone"));
    }
    Ok(Some(data))
}

fn ack(
    connection: &Connection,
    (file, workspace, now): (Id, Id, Time),
    claimed: Option<Sha256>,
) -> Result<CheckedAck, SqliteError> {
    let digest = claimed.as_ref().map(Sha256::as_bytes);
    let mut ack = connection.prepare_cached(ACK)?;
    let mut acked = ack.query(params![file, workspace, now, digest])?;
    if let Some(row) = acked.next()? {
        return Ok(CheckedAck::First(rows::pending_upload(row)?));
    }
    let (at, sha256) = connection
        .prepare_cached(NOT_ACKED)?
        .query_row((file, workspace, now), |row| {
            let at: Option<Time> = row.get("acked_at")?;
            Ok((at, Sha256::from_bytes(row.get("sha256")?)))
        })
        .optional()?
        .ok_or(SqliteError::NotFound)?;
    if claimed.is_some_and(|digest| digest != sha256) {
        return Ok(CheckedAck::Mismatch);
    }
    let Time(at) = at.ok_or(SqliteError::NotFound)?;
    Ok(CheckedAck::Again { at })
}

/// What is needed to read the windows of one download.
#[derive(Clone)]
struct Reader {
    storage: SqliteStorage,
    workspace: WorkspaceId,
    file: FileId,
    end: u64,
}

/// A piece of a file up to the offset `end`, and the file itself where there is one.
struct Window {
    piece: Bytes,
    end: u64,
    open: Option<File>,
}

/// What the database says of a window.
enum Found {
    Bytes(Bytes),
    /// They are in a file, from an offset on.
    InFile(FileId, u64),
}

impl Reader {
    /// Reads from `start` to the next window border, or to the end; the row is asked each time
    /// whether the file may still be handed over.
    async fn window(&self, start: u64, open: Option<File>) -> Result<Window, SqliteError> {
        let border = (start / WINDOW_BYTES + 1).saturating_mul(WINDOW_BYTES);
        let end = border.min(self.end);
        let (workspace, file, whole) = (self.workspace, self.file, self.end);
        let clock = Arc::clone(&self.storage.clock);
        let folder = Arc::clone(self.storage.database.folder());
        let look = move |connection: &Connection| {
            let key = key(workspace, file, clock.now());
            find(connection, key, start, end, whole)
        };
        let take = move |found| {
            let (piece, open) = match found {
                Found::Bytes(piece) => (piece, None),
                Found::InFile(name, from) => {
                    let open = open.map_or_else(|| folder.open_file(name), |open| Ok(Some(open)));
                    let Some(mut open) = open? else {
                        return Ok(None);
                    };
                    if end < whole {
                        let next = WINDOW_BYTES.min(whole - end);
                        files::read_ahead(&open, from + (end - start), next);
                    }
                    let piece = files::read_at(&mut open, from, end - start)?;
                    (piece, Some(open))
                }
            };
            Ok(Some(Window { piece, end, open }))
        };
        match self
            .storage
            .database
            .readers()
            .read_then(look, take)
            .await?
        {
            Some(window) => Ok(window),
            None => Err(self.why_missing().await),
        }
    }

    /// The file is gone though its row was there: swept since, or lost.
    async fn why_missing(&self) -> SqliteError {
        let (workspace, file, now) = (self.workspace, self.file, self.storage.now());
        let look = move |connection: &Connection| {
            find(connection, key(workspace, file, now), 0, 1, 1).map(drop)
        };
        match self.storage.database.readers().read(look).await {
            Ok(()) => SqliteError::Damaged("a file's bytes are gone"),
            Err(error) => error,
        }
    }

    /// Starts to read the window after `from`, if there is one.
    fn prefetch(
        &self,
        from: u64,
        open: Option<File>,
    ) -> Option<JoinHandle<Result<Window, SqliteError>>> {
        let reader = self.clone();
        (from < self.end).then(|| {
            self.storage
                .database
                .spawn(async move { reader.window(from, open).await })
        })
    }
}

fn find(
    connection: &Connection,
    key: (Id, Id, Time),
    start: u64,
    end: u64,
    whole: u64,
) -> Result<Found, SqliteError> {
    let file = key.0;
    let mut readable = connection.prepare_cached(READABLE)?;
    let mut found = readable.query(key)?;
    let row = found.next()?.ok_or(SqliteError::NotFound)?;
    let size_bytes = rows::byte_count(row, "size_bytes")?;
    if whole > size_bytes {
        return Err(SqliteError::RangeNotSatisfiable { size_bytes });
    }
    match rows::location(row)? {
        Location::Row => {}
        Location::File => return Ok(Found::InFile(FileId::from_uuid(file.0), start)),
        Location::Bundle(slot) => {
            let from = slot.offset.saturating_add(start);
            return Ok(Found::InFile(slot.bundle, from));
        }
    }
    let missing = || SqliteError::Damaged("bytes of a file are missing");
    let data = connection
        .prepare_cached(BYTES)?
        .query_row(
            params![file, signed(start)? + 1, signed(end - start)?],
            // A stretch of no bytes is null.
            |row| row.get::<_, Option<Vec<u8>>>(0),
        )
        .optional()?
        .flatten()
        .ok_or_else(missing)?;
    if data.len() as u64 == end - start {
        Ok(Found::Bytes(data.into()))
    } else {
        Err(missing())
    }
}

/// One download: the piece at hand, and the window that is on its way.
struct Reading {
    piece: Option<Bytes>,
    next: Option<JoinHandle<Result<Window, SqliteError>>>,
    reader: Reader,
}

impl Reading {
    fn after(reader: Reader, window: Window) -> Self {
        let next = reader.prefetch(window.end, window.open);
        Self {
            piece: Some(window.piece),
            next,
            reader,
        }
    }

    async fn piece(mut self) -> Result<Option<(Bytes, Self)>> {
        if let Some(piece) = self.piece.take() {
            return Ok(Some((piece, self)));
        }
        let Some(next) = self.next.take() else {
            return Ok(None);
        };
        let window = next.await.map_err(|_| SqliteError::Closed)??;
        let mut reading = Self::after(self.reader, window);
        Ok(reading.piece.take().map(|piece| (piece, reading)))
    }
}
