//! Look-ups, small reads, acks and notes of fetches: one statement for all that are asked for at
//! once.
//!
//! Each statement takes the files and their workspaces as columns, and answers by the number of the
//! question. All are answered as of the time at which the statement is sent, on a connection that is
//! at hand by then, so that nothing is handed over that expired while it was waited for.

use std::error::Error;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use pending_uploads_core::{Acked, Clock, FileId, PendingUpload, WorkspaceId};
use tokio_postgres::Row;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
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
         WHERE file_id = locked_file RETURNING first.no, acked_at \
     ) SELECT no, acked_at FROM acked"
);
const ACK_ALONE: &str = "UPDATE pending_uploads SET acked_at = $3 WHERE file_id = $1 \
     AND (workspace_id = $2 AND acked_at IS NULL AND expires_at > $3) IS TRUE RETURNING acked_at";
const ACKED_AT: &str = "SELECT acked_at FROM pending_uploads WHERE file_id = $1 \
     AND (workspace_id = $2 AND acked_at IS NOT NULL AND expires_at > $3) IS TRUE";

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

/// The time at which a statement is written to its connection.
#[derive(Debug)]
struct Now<'a>(&'a dyn Clock);

impl ToSql for Now<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        SystemTime::from(self.0.now()).to_sql(kind, out)
    }

    fn accepts(kind: &Type) -> bool {
        <SystemTime as ToSql>::accepts(kind)
    }

    to_sql_checked!();
}

/// What a statement takes: the questions, and the time as of which they are answered.
#[derive(Debug)]
struct Columns<'a> {
    files: Vec<Uuid>,
    workspaces: Vec<Uuid>,
    now: Now<'a>,
}

impl<'a> Columns<'a> {
    fn of<'b>(asks: impl IntoIterator<Item = &'b Asked>, clock: &'a dyn Clock) -> Self {
        let (files, workspaces) = asks
            .into_iter()
            .map(|asked| (asked.file.as_uuid(), asked.workspace.as_uuid()))
            .unzip();
        Self {
            files,
            workspaces,
            now: Now(clock),
        }
    }

    fn params(&self) -> [&(dyn ToSql + Sync); 3] {
        [&self.files, &self.workspaces, &self.now]
    }
}

async fn ask<'a>(
    database: &Database,
    clock: &dyn Clock,
    sql: &str,
    asks: impl IntoIterator<Item = &'a Asked>,
) -> Result<Vec<Row>, PgError> {
    let columns = Columns::of(asks, clock);
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

/// The first chunk of a file that waits, as far as it was asked for.
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
        let answer = |(row, bytes): (Option<Row>, &AskedBytes)| {
            let read = row.map(|row| first_chunk(&row, bytes.end));
            read.transpose().ok()
        };
        Ok(rows.into_iter().zip(asks).map(answer).collect())
    }

    async fn alone(
        &self,
        database: &Database,
        bytes: AskedBytes,
        _: Attempt,
    ) -> Result<Self::Answer, PgError> {
        let rows = ask(database, &*self.clock, READ, [&bytes.asked]).await?;
        let read = rows.first().map(|row| first_chunk(row, bytes.end));
        read.transpose()
    }

    fn exclusive(_: &AskedBytes) -> Option<WorkspaceId> {
        None
    }

    fn bytes(bytes: &AskedBytes) -> usize {
        bytes.end
    }
}

/// What was asked for is copied out of the row: a slow peer would keep the memory of its whole group.
fn first_chunk(row: &Row, end: usize) -> Result<FirstChunk, PgError> {
    let data: Option<&[u8]> = rows::column(row, "data")?;
    let asked = data.map(|data| data.get(..end).unwrap_or(data));
    Ok(FirstChunk {
        size_bytes: rows::byte_count(row, "size_bytes")?,
        data: asked.map(Bytes::copy_from_slice),
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
        let columns = Columns::of(asks, &*self.clock);
        let acked = database.query_once(ACK, &columns.params()).await?;
        let acked = by_number(asks.len(), acked)?;
        let first = |row: Option<Row>| row.as_ref().map(first_ack).transpose();
        acked.into_iter().map(first).collect()
    }

    async fn alone(&self, database: &Database, asked: Asked, _: Attempt) -> Result<Acked, PgError> {
        let (file, workspace) = (asked.file.as_uuid(), asked.workspace.as_uuid());
        let now = Now(&*self.clock);
        let params: [&(dyn ToSql + Sync); 3] = [&file, &workspace, &now];
        if let Some(row) = database.query(ACK_ALONE, &params).await?.first() {
            return first_ack(row);
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

fn first_ack(row: &Row) -> Result<Acked, PgError> {
    Ok(Acked::First {
        at: rows::time(row, "acked_at")?,
    })
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
