//! A data folder that is being filled: one transaction, from its first row to its last.

use std::path::Path;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use pending_uploads_core::{
    Activity, ArchivedWorkspace, CallbackUrl, CheckedBytes, PendingUpload, Restoration, Result,
};
use rusqlite::{Connection, params};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::archive::ArchiveError;
use crate::batch::ROW_BYTES;
use crate::database::Database;
use crate::error::SqliteError;
use crate::feed_rows;
use crate::files::FileWriter;
use crate::publish::{self, Placement};
use crate::rows::{Id, JsonText, Time};
use crate::staged::Lease;
use crate::writer::Promise;

const IS_EMPTY: &str = "SELECT NOT EXISTS (SELECT 1 FROM workspaces) \
     AND NOT EXISTS (SELECT 1 FROM activity) AND NOT EXISTS (SELECT 1 FROM pending_uploads)";
const PUT_WORKSPACE: &str = "INSERT INTO workspaces (id, delivery_mode, callback_url, agent_card, \
         inbound_secret, token_sha256, created_at, updated_at) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
const PUT_COUNTER: &str = "INSERT INTO feed_counters (workspace_id, last_seq) VALUES (?1, ?2)";
/// What waits is counted once, when all of it is there.
const COUNT_WAITING: &str = "UPDATE feed_counters AS counter \
     SET waiting_files = waiting.files, waiting_bytes = waiting.bytes \
     FROM (SELECT workspace_id, count(*) AS files, sum(size_bytes) AS bytes \
         FROM pending_uploads WHERE acked_at IS NULL GROUP BY workspace_id) AS waiting \
     WHERE waiting.workspace_id = counter.workspace_id";

/// How many pages or small files may wait for the writer.
const QUEUE: usize = 2;
/// How much of the database the writer keeps in memory meanwhile, in KiB: the feeds' indexes are
/// filled out of order, and every page that does not fit is written again and again.
const CACHE_KIB: i64 = 64 * 1024;

/// [`Restoration`] of a data folder. Its last row is committed with its first; larger files are on
/// the disk before that, and those of a restoration that never finished are deleted.
#[derive(Debug)]
pub struct SqliteRestoration {
    database: Database,
    puts: mpsc::Sender<Put>,
    filling: JoinHandle<Result<(), SqliteError>>,
    /// There is one from the first file on the disk on.
    lease: Option<Lease>,
}

/// What the writer is to insert next.
enum Put {
    Workspace(Box<ArchivedWorkspace>),
    Activity(Vec<Activity>),
    Upload(Box<(PendingUpload, Placement)>),
    Finish,
}

/// What the writer found before it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    Something,
}

impl SqliteRestoration {
    /// Opens a data folder, which is made if it does not exist, and begins to fill it.
    ///
    /// # Errors
    /// [`ArchiveError::NotEmpty`], [`ArchiveError::Open`], [`ArchiveError::Store`].
    ///
    /// # Panics
    /// When it is called outside of a tokio runtime.
    pub async fn begin(path: &Path) -> Result<Self, ArchiveError> {
        let database = Database::open(path)?;
        let path = database.path().to_owned();
        match Self::on(database).await {
            Ok(Some(restoration)) => Ok(restoration),
            Ok(None) => Err(ArchiveError::NotEmpty { path }),
            Err(error) => Err(ArchiveError::Store {
                path,
                source: error.into(),
            }),
        }
    }

    async fn on(database: Database) -> Result<Option<Self>, SqliteError> {
        let (puts, incoming) = mpsc::channel(QUEUE);
        let (tell, found) = oneshot::channel();
        let writer = database.writer().clone();
        let filling = database.spawn(async move {
            let work = move |connection: &Connection| fill(connection, tell, incoming);
            writer.write_once(Promise::Durable, work).await
        });
        match found.await {
            Ok(Found::Nothing) => Ok(Some(Self {
                database,
                puts,
                filling,
                lease: None,
            })),
            Ok(Found::Something) => Ok(None),
            Err(_) => Err(failure(filling).await),
        }
    }

    async fn put(self: Box<Self>, put: Put) -> Result<Box<dyn Restoration>> {
        match self.puts.send(put).await {
            Ok(()) => Ok(self),
            Err(_) => Err(failure(self.filling).await.into()),
        }
    }

    async fn place(
        &mut self,
        upload: &PendingUpload,
        mut bytes: CheckedBytes,
    ) -> Result<Placement> {
        if upload.size_bytes <= ROW_BYTES as u64 {
            let data = bytes.map_ok(Vec::from).try_concat().await?;
            return Ok(Placement::Memory(data));
        }
        let database = &self.database;
        // The file is noted before it is made: whatever happens then, it is found.
        let lease = self.lease.get_or_insert_with(|| {
            let staged = database.staged();
            staged.enter(upload.workspace_id, upload.created_at)
        });
        lease.add(upload.file_id)?;
        let batch = lease.watch();
        let mut writer = FileWriter::create(database, upload.file_id, batch).await?;
        while let Some(piece) = bytes.try_next().await? {
            writer.write(database, &piece).await?;
        }
        writer.finish(database).await?;
        Ok(Placement::File)
    }
}

#[async_trait]
impl Restoration for SqliteRestoration {
    async fn put_workspace(
        self: Box<Self>,
        workspace: ArchivedWorkspace,
    ) -> Result<Box<dyn Restoration>> {
        self.put(Put::Workspace(Box::new(workspace))).await
    }

    async fn put_activity(self: Box<Self>, rows: Vec<Activity>) -> Result<Box<dyn Restoration>> {
        self.put(Put::Activity(rows)).await
    }

    async fn put_upload(
        mut self: Box<Self>,
        upload: PendingUpload,
        bytes: Option<CheckedBytes>,
    ) -> Result<Box<dyn Restoration>> {
        let placement = match bytes {
            Some(bytes) => self.place(&upload, bytes).await?,
            None => Placement::Nowhere,
        };
        self.put(Put::Upload(Box::new((upload, placement)))).await
    }

    /// Runs to its end whoever goes away, so that the files on the disk are kept when their rows
    /// were committed, and deleted when they were not.
    async fn finish(self: Box<Self>) -> Result<()> {
        let database = self.database.clone();
        Ok(database.run(finish(*self)).await?)
    }
}

async fn finish(restoration: SqliteRestoration) -> Result<(), SqliteError> {
    let SqliteRestoration {
        database,
        puts,
        filling,
        lease,
    } = restoration;
    let Some(lease) = lease else {
        return commit(&puts, filling).await;
    };
    lease.settle(&database, commit(&puts, filling)).await
}

async fn commit(
    puts: &mpsc::Sender<Put>,
    filling: JoinHandle<Result<(), SqliteError>>,
) -> Result<(), SqliteError> {
    // When nobody takes it the work has failed already, and says so itself.
    drop(puts.send(Put::Finish).await);
    filling.await.map_err(|_| SqliteError::Closed)?
}

/// Why the work ended before it was told to.
async fn failure(filling: JoinHandle<Result<(), SqliteError>>) -> SqliteError {
    match filling.await {
        Ok(Err(error)) => error,
        Ok(Ok(())) | Err(_) => SqliteError::Closed,
    }
}

/// The whole of a restoration, on the writer's thread and in its transaction. When the other end is
/// dropped before it finished, all of it is undone.
fn fill(
    connection: &Connection,
    tell: oneshot::Sender<Found>,
    mut incoming: mpsc::Receiver<Put>,
) -> Result<(), SqliteError> {
    let is_empty: bool = connection.query_row(IS_EMPTY, [], |row| row.get(0))?;
    let found = if is_empty {
        Found::Nothing
    } else {
        Found::Something
    };
    if tell.send(found).is_err() || found == Found::Something {
        return Ok(());
    }
    let usual_cache: i64 = connection.query_row("PRAGMA cache_size", [], |row| row.get(0))?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    let filled = put_all(connection, &mut incoming);
    connection.pragma_update(None, "cache_size", usual_cache)?;
    filled
}

fn put_all(connection: &Connection, incoming: &mut mpsc::Receiver<Put>) -> Result<(), SqliteError> {
    loop {
        match incoming.blocking_recv() {
            Some(Put::Workspace(workspace)) => put_workspace(connection, &workspace)?,
            Some(Put::Activity(rows)) => rows
                .iter()
                .try_for_each(|row| put_activity(connection, row))?,
            Some(Put::Upload(file)) => publish::insert(connection, &file.0, file.1.in_row())?,
            Some(Put::Finish) => {
                connection.execute(COUNT_WAITING, [])?;
                return Ok(());
            }
            None => return Err(SqliteError::Closed),
        }
    }
}

fn put_activity(connection: &Connection, row: &Activity) -> Result<(), SqliteError> {
    let place = (row.id, row.workspace_id, row.seq);
    feed_rows::insert(connection, place, &row.content, row.created_at)
}

fn put_workspace(
    connection: &Connection,
    workspace: &ArchivedWorkspace,
) -> Result<(), SqliteError> {
    let id = Id(workspace.id.as_uuid());
    connection.prepare_cached(PUT_WORKSPACE)?.execute(params![
        id,
        workspace.delivery_mode.as_str(),
        workspace.callback.as_ref().map(CallbackUrl::to_string),
        workspace.agent_card.as_ref().map(JsonText),
        workspace.inbound_secret.expose(),
        workspace.token_digest.as_bytes(),
        Time(workspace.created_at),
        Time(workspace.updated_at),
    ])?;
    connection
        .prepare_cached(PUT_COUNTER)?
        .execute(params![id, workspace.last_seq.0])?;
    Ok(())
}
