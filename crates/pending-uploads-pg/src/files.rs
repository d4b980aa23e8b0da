//! Look-ups, small reads, acks and notes of fetches: one statement for all that are asked for at
//! once.
//!
//! Each statement takes the files and their workspaces as columns, and answers by the number of the
//! question. All are answered as of the time at which the statement is sent, so that nothing is
//! handed over that expired while it was waited for.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use pending_uploads_core::{Acked, Clock, FileId, PendingUpload, Timestamp, WorkspaceId};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::batch::Attempt;
use crate::database::Database;
use crate::error::PgError;
use crate::lanes::Grouped;
use crate::rows::{self, upload_columns};

/// $1 and $2: files, and their workspaces.
macro_rules! asked {
    () => {
        "unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY \
         AS asked (asked_file, asked_workspace, no)"
    };
}

/// The record of each file that was asked for, its `$columns` alone; $3 is the time.
///
/// Each is looked up by its id, whatever the planner knows of the table: it plans once, maybe while
/// the table is empty, and by another index all that waits would be read. So no other condition is
/// one that an index knows, and none of the look-ups can be joined in another way.
macro_rules! records {
    ($columns:expr, $condition:literal, $lock:literal) => {
        concat!(
            asked!(),
            " CROSS JOIN LATERAL (SELECT ",
            $columns,
            " FROM pending_uploads WHERE file_id = asked_file \
             AND (workspace_id = asked_workspace AND expires_at > $3",
            $condition,
            ") IS TRUE LIMIT 1",
            $lock,
            ") AS upload"
        )
    };
}

const GET: &str = concat!(
    "SELECT no, upload.* FROM ",
    records!(upload_columns!(), "", "")
);

/// The first chunk of each file that may still be handed over.
const READ: &str = concat!(
    "SELECT no, size_bytes, data FROM ",
    records!("file_id, size_bytes", " AND acked_at IS NULL", ""),
    " LEFT JOIN LATERAL (SELECT data FROM pending_upload_chunks AS chunk \
         WHERE chunk.file_id = upload.file_id AND chunk.seq = 0 LIMIT 1) AS chunk ON true"
);

/// Locks rows in one statement with their update; one that somebody else has locked is passed by. A
/// file that is asked for twice is acked once, by the first who asked.
const ACK: &str = concat!(
    "WITH locked AS MATERIALIZED ( \
         SELECT file_id AS locked_file, no FROM ",
    records!(
        "file_id",
        " AND acked_at IS NULL",
        " FOR NO KEY UPDATE SKIP LOCKED"
    ),
    "), first AS ( \
         SELECT DISTINCT ON (locked_file) locked_file, no FROM locked ORDER BY locked_file, no \
     ), acked AS ( \
         UPDATE pending_uploads SET acked_at = $3 FROM first \
         WHERE file_id = locked_file RETURNING first.no \
     ) SELECT no FROM acked"
);
const ACK_ALONE: &str = "UPDATE pending_uploads SET acked_at = $3 \
     WHERE file_id = $1 AND workspace_id = $2 AND acked_at IS NULL AND expires_at > $3 \
     RETURNING file_id";
const ACKED_AT: &str = "SELECT acked_at FROM pending_uploads \
     WHERE file_id = $1 AND workspace_id = $2 AND acked_at IS NOT NULL AND expires_at > $3";

/// Best effort: nobody waits for the disk, and what somebody else has locked is left as it is.
const MARK_FETCHED: &str = concat!(
    "WITH locked AS MATERIALIZED ( \
         SELECT file_id AS locked_file FROM ",
    records!(
        "file_id",
        " AND acked_at IS NULL",
        " FOR NO KEY UPDATE SKIP LOCKED"
    ),
    ") \
     UPDATE pending_uploads SET fetched_at = $3 \
     FROM (SELECT set_config('synchronous_commit', 'off', true)) AS unhurried \
     WHERE file_id IN (SELECT locked_file FROM locked)"
);

/// A question about one file of one workspace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) workspace: WorkspaceId,
    pub(crate) file: FileId,
}

/// What a statement takes: the questions, and the time as of which they are answered.
#[derive(Debug)]
struct Columns {
    files: Vec<Uuid>,
    workspaces: Vec<Uuid>,
    at: SystemTime,
}

impl Columns {
    fn of<'a>(asks: impl IntoIterator<Item = &'a Asked>, at: Timestamp) -> Self {
        let (files, workspaces) = asks
            .into_iter()
            .map(|asked| (asked.file.as_uuid(), asked.workspace.as_uuid()))
            .unzip();
        Self {
            files,
            workspaces,
            at: at.into(),
        }
    }

    fn params(&self) -> [&(dyn ToSql + Sync); 3] {
        [&self.files, &self.workspaces, &self.at]
    }
}

async fn ask<'a>(
    database: &Database,
    clock: &dyn Clock,
    sql: &str,
    asks: impl IntoIterator<Item = &'a Asked>,
) -> Result<Vec<Row>, PgError> {
    let columns = Columns::of(asks, clock.now());
    database.query(sql, &columns.params()).await
}

/// Puts each row to where its question stands.
fn by_number(count: usize, rows: Vec<Row>) -> Result<Vec<Option<Row>>, PgError> {
    let mut places: Vec<Option<Row>> = std::iter::repeat_with(|| None).take(count).collect();
    for row in rows {
        let no = rows::byte_count(&row, "no")?;
        let place = usize::try_from(no.saturating_sub(1)).ok();
        let place = place.and_then(|place| places.get_mut(place));
        *place.ok_or(PgError::Damaged("an answer to no question"))? = Some(row);
    }
    Ok(places)
}

/// Looks records up; none where there is no such file.
#[derive(Debug)]
pub(crate) struct LookUps {
    pub(crate) clock: Arc<dyn Clock>,
}

impl Grouped for LookUps {
    type Ask = Asked;
    type Answer = Option<PendingUpload>;

    async fn together(
        &self,
        database: &Database,
        asks: &[Asked],
    ) -> Result<Vec<Option<Self::Answer>>, PgError> {
        let rows = ask(database, &*self.clock, GET, asks).await?;
        let rows = by_number(asks.len(), rows)?;
        // A record that is damaged is whoever's asked for it.
        let answer = |row: Option<Row>| row.as_ref().map(rows::pending_upload).transpose().ok();
        Ok(rows.into_iter().map(answer).collect())
    }

    async fn alone(
        &self,
        database: &Database,
        asked: Asked,
        _: Attempt,
    ) -> Result<Self::Answer, PgError> {
        let rows = ask(database, &*self.clock, GET, [&asked]).await?;
        rows.first().map(rows::pending_upload).transpose()
    }

    fn exclusive(_: &Asked) -> Option<WorkspaceId> {
        None
    }

    fn bytes(_: &Asked) -> usize {
        0
    }
}

/// A question for the first bytes of a file, so many at the most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AskedBytes {
    pub(crate) asked: Asked,
    pub(crate) end: usize,
}

/// The first chunk of a file that waits.
#[derive(Debug)]
pub(crate) struct FirstChunk {
    pub(crate) size_bytes: u64,
    /// None when it is missing.
    pub(crate) data: Option<Bytes>,
}

/// Reads first chunks; none where there is no such file that waits.
#[derive(Debug)]
pub(crate) struct SmallReads {
    pub(crate) clock: Arc<dyn Clock>,
}

impl Grouped for SmallReads {
    type Ask = AskedBytes;
    type Answer = Option<FirstChunk>;

    async fn together(
        &self,
        database: &Database,
        asks: &[AskedBytes],
    ) -> Result<Vec<Option<Self::Answer>>, PgError> {
        let files = asks.iter().map(|bytes| &bytes.asked);
        let rows = ask(database, &*self.clock, READ, files).await?;
        let rows = by_number(asks.len(), rows)?;
        let answer = |row: Option<Row>| row.as_ref().map(first_chunk).transpose().ok();
        Ok(rows.into_iter().map(answer).collect())
    }

    async fn alone(
        &self,
        database: &Database,
        bytes: AskedBytes,
        _: Attempt,
    ) -> Result<Self::Answer, PgError> {
        let rows = ask(database, &*self.clock, READ, [&bytes.asked]).await?;
        rows.first().map(first_chunk).transpose()
    }

    fn exclusive(_: &AskedBytes) -> Option<WorkspaceId> {
        None
    }

    fn bytes(bytes: &AskedBytes) -> usize {
        bytes.end
    }
}

fn first_chunk(row: &Row) -> Result<FirstChunk, PgError> {
    let data: Option<&[u8]> = rows::column(row, "data")?;
    Ok(FirstChunk {
        size_bytes: rows::byte_count(row, "size_bytes")?,
        data: data.map(Bytes::copy_from_slice),
    })
}

/// Acks files.
#[derive(Debug)]
pub(crate) struct Acks {
    pub(crate) clock: Arc<dyn Clock>,
}

impl Grouped for Acks {
    type Ask = Asked;
    type Answer = Acked;

    async fn together(
        &self,
        database: &Database,
        asks: &[Asked],
    ) -> Result<Vec<Option<Acked>>, PgError> {
        let at = self.clock.now();
        let columns = Columns::of(asks, at);
        let acked = database.query_once(ACK, &columns.params()).await?;
        let acked = by_number(asks.len(), acked)?;
        let answer = |row: Option<Row>| row.map(|_| Acked::First { at });
        Ok(acked.into_iter().map(answer).collect())
    }

    async fn alone(&self, database: &Database, asked: Asked, _: Attempt) -> Result<Acked, PgError> {
        let (file, workspace) = (asked.file.as_uuid(), asked.workspace.as_uuid());
        let at = self.clock.now();
        let now = SystemTime::from(at);
        let params: [&(dyn ToSql + Sync); 3] = [&file, &workspace, &now];
        if !database.query(ACK_ALONE, &params).await?.is_empty() {
            return Ok(Acked::First { at });
        }
        let rows = database.query(ACKED_AT, &params).await?;
        let row = rows.first().ok_or(PgError::NotFound)?;
        Ok(Acked::Again {
            at: rows::time(row, "acked_at")?,
        })
    }

    fn exclusive(_: &Asked) -> Option<WorkspaceId> {
        None
    }

    fn bytes(_: &Asked) -> usize {
        0
    }
}

/// Notes that files were handed over.
#[derive(Debug)]
pub(crate) struct FetchNotes {
    pub(crate) clock: Arc<dyn Clock>,
}

impl Grouped for FetchNotes {
    type Ask = Asked;
    type Answer = ();

    async fn together(
        &self,
        database: &Database,
        asks: &[Asked],
    ) -> Result<Vec<Option<()>>, PgError> {
        ask(database, &*self.clock, MARK_FETCHED, asks).await?;
        Ok(vec![Some(()); asks.len()])
    }

    async fn alone(&self, database: &Database, asked: Asked, _: Attempt) -> Result<(), PgError> {
        let noted = ask(database, &*self.clock, MARK_FETCHED, [&asked]);
        noted.await.map(drop)
    }

    fn exclusive(_: &Asked) -> Option<WorkspaceId> {
        None
    }

    fn bytes(_: &Asked) -> usize {
        0
    }
}
