//! A whole database, read for moving. Opening it takes a lock that lets everybody read and nobody
//! write.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use pending_uploads_core::{
    Activity, Archive, ArchivedWorkspace, ByteStream, Error, FileId, ManualClock, PendingUpload,
    Result, Seq, Storage, StorageConfig, StoreTotals, Timestamp, WorkspaceId,
};
use tokio::time::sleep;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use crate::activity::{self, activity_columns};
use crate::config::{ConfigError, DatabaseConfig, SERVER_NAME};
use crate::database::{Database, Schema, SchemaPart};
use crate::error::PgError;
use crate::rows::{self, upload_columns};
use crate::storage::PgStorage;
use crate::workspaces;

/// How often is looked whether servers are gone, and how long in between: one that has just been
/// stopped is still in the list for a moment.
const LOOKS: u32 = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// A transaction that lives as long as a copy does. The server's own time-outs for short ones would
/// end it, but for the one on locks.
const BEGIN: &str =
    "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0";
const HOLD_STILL: &str = "LOCK TABLE workspaces, feed_counters, activity, pending_uploads, \
     pending_upload_chunks, staged_batches IN SHARE MODE";
/// Within a transaction the list of connections is otherwise always the first one.
const LOOK_AGAIN: &str = "SELECT pg_stat_clear_snapshot()";
/// Connections of servers; of a copy's own, none.
const SERVERS: &str = "SELECT count(*) AS connections FROM pg_stat_activity \
     WHERE datname = current_database() AND application_name = ANY($1)";

const TOTALS: &str = "SELECT (SELECT count(*) FROM workspaces) AS workspaces, \
         (SELECT count(*) FROM activity WHERE workspace_id IN (SELECT id FROM workspaces)) \
             AS feed_rows, \
         count(*) AS files, \
         coalesce(sum(size_bytes) FILTER (WHERE acked_at IS NULL AND expires_at > $1), 0)::int8 \
             AS bytes \
     FROM pending_uploads";
/// The page after $1, found by the index. A condition with `OR` would search for it from the first
/// row on.
macro_rules! after {
    ($id:literal) => {
        concat!(
            " WHERE ",
            $id,
            " >= coalesce($1::uuid, '00000000-0000-0000-0000-000000000000') AND ",
            $id,
            " IS DISTINCT FROM $1 ORDER BY ",
            $id,
            " LIMIT $2"
        )
    };
}
const WORKSPACES: &str = concat!(
    "SELECT id, delivery_mode, callback_url, inbound_secret, token_sha256, \
         agent_card, created_at, updated_at, last_seq \
     FROM workspaces JOIN feed_counters ON workspace_id = id",
    after!("id")
);
const ACTIVITY: &str = concat!(
    "SELECT ",
    activity_columns!(),
    " FROM activity AS row WHERE row.workspace_id = $1 AND row.seq > $2 ORDER BY row.seq LIMIT $3"
);
const UPLOADS: &str = concat!(
    "SELECT ",
    upload_columns!(),
    " FROM pending_uploads",
    after!("file_id")
);

/// Why a database cannot be moved from, or moved into.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The connections cannot be set up.
    #[error("cannot set up the database's connections")]
    Config(#[from] ConfigError),
    /// The database lacks tables, or has those of an older version.
    #[error("it lacks the platform's tables")]
    NoTables,
    /// A platform server is connected to it.
    #[error("a platform server is connected to it ({connections} connections)")]
    InUse {
        /// How many connections servers have.
        connections: u64,
    },
    /// It holds data already.
    #[error("it is not empty")]
    NotEmpty,
    /// It does not answer, or refused.
    #[error("it failed")]
    Store(#[source] Error),
}

impl From<PgError> for ArchiveError {
    fn from(error: PgError) -> Self {
        Self::Store(error.into())
    }
}

/// [`Archive`] of a database. Until it is dropped nobody can write to the database.
pub struct PgArchive {
    database: Database,
    /// Holds the lock.
    keeper: Client,
}

impl fmt::Debug for PgArchive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgArchive")
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

impl PgArchive {
    /// Connects to a database that no server is connected to, and holds it still.
    ///
    /// Servers are known by the name that their connections bear: `pending-uploads`, or the
    /// `application_name` in the URL; one that is just stopping has two seconds to be gone. One that
    /// starts afterwards can read; its writes fail.
    ///
    /// # Errors
    /// Every variant of [`ArchiveError`] but `NotEmpty`.
    ///
    /// # Panics
    /// When it is called outside of a tokio runtime.
    pub async fn open(config: &DatabaseConfig) -> Result<Self, ArchiveError> {
        let (database, keeper) = connect(config).await?;
        lock(config, &keeper, HOLD_STILL).await?;
        Ok(Self { database, keeper })
    }

    async fn list<T>(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
        item: fn(&Row) -> Result<T, PgError>,
    ) -> Result<Vec<T>> {
        let rows = self.database.query(sql, params).await?;
        Ok(rows.iter().map(item).collect::<Result<_, _>>()?)
    }
}

/// Connects to a database that has all tables and no server: a pool, and one connection with a
/// transaction.
pub(crate) async fn connect(config: &DatabaseConfig) -> Result<(Database, Client), ArchiveError> {
    let database = Database::connect(&config.for_copying())?;
    let schema = database.schema().await.map_err(ArchiveError::Store)?;
    let ready = Schema {
        base: SchemaPart::Ready,
        uploads: SchemaPart::Ready,
    };
    if schema != ready {
        return Err(ArchiveError::NoTables);
    }
    let client = database.dedicated_client().await?;
    client.batch_execute(BEGIN).await.map_err(PgError::from)?;
    check_unused(config, &client).await?;
    Ok((database, client))
}

/// Takes a lock; asks once more who is there, because a server may have come while it waited.
pub(crate) async fn lock(
    config: &DatabaseConfig,
    client: &Client,
    lock: &str,
) -> Result<(), ArchiveError> {
    client.batch_execute(lock).await.map_err(PgError::from)?;
    check_unused(config, client).await
}

async fn check_unused(config: &DatabaseConfig, client: &Client) -> Result<(), ArchiveError> {
    let own = config.postgres().get_application_name();
    let names = [SERVER_NAME, own.unwrap_or(SERVER_NAME)];
    let mut looks = 1..LOOKS;
    loop {
        let looking = client.batch_execute(LOOK_AGAIN).await;
        looking.map_err(PgError::from)?;
        let row = client.query_one(SERVERS, &[&names.as_slice()]).await;
        match rows::byte_count(&row.map_err(PgError::from)?, "connections")? {
            0 => return Ok(()),
            _ if looks.next().is_some() => sleep(BETWEEN_LOOKS).await,
            connections => return Err(ArchiveError::InUse { connections }),
        }
    }
}

#[async_trait]
impl Archive for PgArchive {
    /// Asked on the connection that holds the lock: an answer says that it is still held.
    async fn totals(&self, now: Timestamp) -> Result<StoreTotals> {
        let row = self
            .keeper
            .query_one(TOTALS, &[&SystemTime::from(now)])
            .await
            .map_err(PgError::from)?;
        Ok(StoreTotals {
            workspaces: rows::byte_count(&row, "workspaces")?,
            feed_rows: rows::byte_count(&row, "feed_rows")?,
            files: rows::byte_count(&row, "files")?,
            bytes: rows::byte_count(&row, "bytes")?,
        })
    }

    async fn workspaces(
        &self,
        after: Option<WorkspaceId>,
        limit: u32,
    ) -> Result<Vec<ArchivedWorkspace>> {
        let after = after.map(|id| id.as_uuid());
        let params: [&(dyn ToSql + Sync); 2] = [&after, &i64::from(limit)];
        self.list(WORKSPACES, &params, archived_workspace).await
    }

    async fn activity(
        &self,
        workspace: WorkspaceId,
        after: Seq,
        limit: u32,
    ) -> Result<Vec<Activity>> {
        let (workspace, limit) = (workspace.as_uuid(), i64::from(limit));
        let params: [&(dyn ToSql + Sync); 3] = [&workspace, &after.0, &limit];
        self.list(ACTIVITY, &params, activity::stored_activity)
            .await
    }

    async fn uploads(&self, after: Option<FileId>, limit: u32) -> Result<Vec<PendingUpload>> {
        let after: Option<Uuid> = after.map(|id| id.as_uuid());
        let params: [&(dyn ToSql + Sync); 2] = [&after, &i64::from(limit)];
        self.list(UPLOADS, &params, rows::pending_upload).await
    }

    /// Read as they were when the file was published: it has not expired then.
    async fn read(&self, upload: &PendingUpload) -> Result<ByteStream> {
        let then = Arc::new(ManualClock::starting_at(upload.created_at));
        let storage = PgStorage::new(&self.database, StorageConfig::default(), then);
        let whole = upload
            .whole()
            .ok_or(PgError::Damaged("a file of no bytes"))?;
        storage
            .read(upload.workspace_id, upload.file_id, whole)
            .await
    }
}

fn archived_workspace(row: &Row) -> Result<ArchivedWorkspace, PgError> {
    Ok(ArchivedWorkspace {
        id: WorkspaceId::from_uuid(rows::uuid(row, "id")?),
        delivery_mode: workspaces::stored_mode(row)?,
        callback: workspaces::stored_callback(row)?,
        inbound_secret: workspaces::stored_secret(row)?,
        token_digest: workspaces::token_digest(row)?,
        agent_card: rows::column(row, "agent_card")?,
        created_at: rows::time(row, "created_at")?,
        updated_at: rows::time(row, "updated_at")?,
        last_seq: Seq(rows::column(row, "last_seq")?),
    })
}
