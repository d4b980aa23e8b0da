//! A whole data folder, read for moving. Opening it takes its lock, so that nobody else writes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use pending_uploads_core::{
    Activity, Archive, ArchivedWorkspace, ByteStream, Error, FileId, ManualClock, PendingUpload,
    Result, Seq, Storage, StorageConfig, StoreTotals, Timestamp, TokenDigest, WorkspaceId,
};
use rusqlite::{Connection, Params, Row};

use crate::activity;
use crate::database::Database;
use crate::error::{OpenError, SqliteError};
use crate::folder;
use crate::rows::{self, Id, Json, Time, upload_columns};
use crate::storage::SqliteStorage;
use crate::workspaces;

const TOTALS: &str = "SELECT (SELECT count(*) FROM workspaces) AS workspaces, \
         (SELECT count(*) FROM activity WHERE workspace_id IN (SELECT id FROM workspaces)) \
             AS feed_rows, \
         count(*) AS files, \
         coalesce(sum(size_bytes) FILTER (WHERE acked_at IS NULL AND expires_at > ?1), 0) AS bytes \
     FROM pending_uploads";
/// Every id comes after no bytes at all: the first page is found by the index as all others are.
const WORKSPACES: &str = "SELECT id, delivery_mode, callback_url, inbound_secret, token_sha256, \
         agent_card, created_at, updated_at, last_seq \
     FROM workspaces JOIN feed_counters ON workspace_id = id \
     WHERE id > coalesce(?1, x'') ORDER BY id LIMIT ?2";
const ACTIVITY: &str = "SELECT * FROM activity WHERE workspace_id = ?1 AND seq > ?2 \
     ORDER BY seq LIMIT ?3";
const UPLOADS: &str = concat!(
    "SELECT ",
    upload_columns!(),
    " FROM pending_uploads WHERE file_id > coalesce(?1, x'') ORDER BY file_id LIMIT ?2"
);

/// Why a data folder cannot be moved from, or moved into.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// There is no database in the folder; nothing was made in its place.
    #[error("there is no data in the folder {}", path.display())]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// The folder holds data already.
    #[error("the data folder {} is not empty", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// The folder cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database in it failed.
    #[error("cannot use the database in {}", path.display())]
    Store {
        /// The folder.
        path: PathBuf,
        /// What went wrong.
        source: Error,
    },
}

/// [`Archive`] of a data folder, which nobody else can open until this is dropped.
#[derive(Debug)]
pub struct SqliteArchive {
    database: Database,
}

impl SqliteArchive {
    /// Opens a data folder that is there; brings its schema up to date, and deletes what uploads
    /// that a crash cut off have left. It blocks while it does.
    ///
    /// # Errors
    /// [`ArchiveError::Missing`], [`ArchiveError::Open`].
    ///
    /// # Panics
    /// When it is called outside of a tokio runtime.
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        if !folder::database_in(path).is_file() {
            let path = path.to_owned();
            return Err(ArchiveError::Missing { path });
        }
        let database = Database::open(path)?;
        Ok(Self { database })
    }

    async fn list<T: Send + 'static>(
        &self,
        sql: &'static str,
        params: impl Params + Send + 'static,
        item: fn(&Row<'_>) -> Result<T, SqliteError>,
    ) -> Result<Vec<T>> {
        let work = move |connection: &Connection| {
            let mut select = connection.prepare_cached(sql)?;
            let mut found = select.query(params)?;
            let mut items = Vec::new();
            while let Some(row) = found.next()? {
                items.push(item(row)?);
            }
            Ok(items)
        };
        Ok(self.database.readers().read(work).await?)
    }
}

#[async_trait]
impl Archive for SqliteArchive {
    async fn totals(&self, now: Timestamp) -> Result<StoreTotals> {
        let totals = self.list(TOTALS, (Time(now),), store_totals).await?;
        let missing = SqliteError::Damaged("no statistics");
        Ok(totals.first().copied().ok_or(missing)?)
    }

    async fn workspaces(
        &self,
        after: Option<WorkspaceId>,
        limit: u32,
    ) -> Result<Vec<ArchivedWorkspace>> {
        let after = after.map(|id| Id(id.as_uuid()));
        self.list(WORKSPACES, (after, limit), archived_workspace)
            .await
    }

    async fn activity(
        &self,
        workspace: WorkspaceId,
        after: Seq,
        limit: u32,
    ) -> Result<Vec<Activity>> {
        let params = (Id(workspace.as_uuid()), after.0, limit);
        self.list(ACTIVITY, params, activity::activity).await
    }

    async fn uploads(&self, after: Option<FileId>, limit: u32) -> Result<Vec<PendingUpload>> {
        let after = after.map(|id| Id(id.as_uuid()));
        self.list(UPLOADS, (after, limit), rows::pending_upload)
            .await
    }

    /// Read as they were when the file was published: it has not expired then.
    async fn read(&self, upload: &PendingUpload) -> Result<ByteStream> {
        let then = Arc::new(ManualClock::starting_at(upload.created_at));
        let storage = SqliteStorage::new(&self.database, StorageConfig::default(), then);
        let whole = upload
            .whole()
            .ok_or(SqliteError::Damaged("a file of no bytes"))?;
        storage
            .read(upload.workspace_id, upload.file_id, whole)
            .await
    }
}

fn store_totals(row: &Row<'_>) -> Result<StoreTotals, SqliteError> {
    Ok(StoreTotals {
        workspaces: rows::byte_count(row, "workspaces")?,
        feed_rows: rows::byte_count(row, "feed_rows")?,
        files: rows::byte_count(row, "files")?,
        bytes: rows::byte_count(row, "bytes")?,
    })
}

fn archived_workspace(row: &Row<'_>) -> Result<ArchivedWorkspace, SqliteError> {
    Ok(ArchivedWorkspace {
        id: WorkspaceId::from_uuid(row.get::<_, Id>("id")?.0),
        delivery_mode: workspaces::stored_mode(row)?,
        callback: workspaces::callback(row)?,
        inbound_secret: workspaces::stored_secret(row)?,
        token_digest: TokenDigest::from_bytes(row.get("token_sha256")?),
        agent_card: row.get::<_, Option<Json>>("agent_card")?.map(|card| card.0),
        created_at: row.get::<_, Time>("created_at")?.0,
        updated_at: row.get::<_, Time>("updated_at")?.0,
        last_seq: Seq(row.get("last_seq")?),
    })
}
