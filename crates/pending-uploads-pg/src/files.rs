//! Look-ups, small reads, acks and notes of fetches: one statement for all that are asked for at
//! once.
//!
//! Each statement takes the files, their workspaces and the times at which they were asked for as
//! columns, and answers by the number of the question.

use std::time::SystemTime;

use bytes::Bytes;
use pending_uploads_core::{Acked, FileId, PendingUpload, Timestamp, WorkspaceId};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::batch::Attempt;
use crate::database::Database;
use crate::error::PgError;
use crate::lanes::Grouped;
use crate::rows::{self, upload_columns};

/// $1 to $3: files, their workspaces, and when they were asked for.
macro_rules! asked {
    () => {
        "unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) WITH ORDINALITY \
         AS asked (asked_file, asked_workspace, asked_at, no)"
    };
}

/// The conditions of every statement about one file of one workspace.
macro_rules! is_asked {
    () => {
        "file_id = asked_file AND workspace_id = asked_workspace AND expires_at > asked_at"
    };
}

const GET: &str = concat!(
    "SELECT no, ",
    upload_columns!(),
    " FROM ",
    asked!(),
    " JOIN pending_uploads ON ",
    is_asked!()
);

/// The first chunk of each file that may still be handed over.
const READ: &str = concat!(
    "SELECT no, size_bytes, data FROM ",
    asked!(),
    " JOIN pending_uploads AS upload ON ",
    is_asked!(),
    " AND acked_at IS NULL \
     LEFT JOIN pending_upload_chunks AS chunk ON chunk.file_id = upload.file_id AND chunk.seq = 0"
);

/// Locks rows in one statement with their update; one that somebody else has locked is passed by. A
/// file that is asked for twice is acked once, by the first who asked.
const ACK: &str = concat!(
    "WITH locked AS MATERIALIZED ( \
         SELECT file_id AS locked_file, no, asked_at FROM ",
    asked!(),
    " JOIN pending_uploads ON ",
    is_asked!(),
    " AND acked_at IS NULL FOR NO KEY UPDATE OF pending_uploads SKIP LOCKED \
     ), first AS ( \
         SELECT DISTINCT ON (locked_file) locked_file, no, asked_at FROM locked \
         ORDER BY locked_file, no \
     ), acked AS ( \
         UPDATE pending_uploads SET acked_at = first.asked_at FROM first \
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
         SELECT file_id AS locked_file, asked_at FROM ",
    asked!(),
    " JOIN pending_uploads ON ",
    is_asked!(),
    " AND acked_at IS NULL FOR NO KEY UPDATE OF pending_uploads SKIP LOCKED \
     ), last AS ( \
         SELECT locked_file, max(asked_at) AS fetched_at FROM locked GROUP BY locked_file \
     ) \
     UPDATE pending_uploads SET fetched_at = last.fetched_at FROM last, \
         (SELECT set_config('synchronous_commit', 'off', true)) AS unhurried \
     WHERE file_id = locked_file"
);

/// A question about one file of one workspace, at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) workspace: WorkspaceId,
    pub(crate) file: FileId,
    pub(crate) at: Timestamp,
}

#[derive(Debug, Default)]
struct Columns {
    files: Vec<Uuid>,
    workspaces: Vec<Uuid>,
    times: Vec<SystemTime>,
}

impl Columns {
    fn of<'a>(asks: impl IntoIterator<Item = &'a Asked>) -> Self {
        let mut columns = Self::default();
        for asked in asks {
            columns.files.push(asked.file.as_uuid());
            columns.workspaces.push(asked.workspace.as_uuid());
            columns.times.push(asked.at.into());
        }
        columns
    }

    fn params(&self) -> [&(dyn ToSql + Sync); 3] {
        [&self.files, &self.workspaces, &self.times]
    }
}

async fn ask(database: &Database, sql: &str, asks: &[&Asked]) -> Result<Vec<Row>, PgError> {
    let columns = Columns::of(asks.iter().copied());
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
pub(crate) struct LookUps;

impl Grouped for LookUps {
    type Ask = Asked;
    type Answer = Option<PendingUpload>;

    async fn together(
        &self,
        database: &Database,
        asks: &[Asked],
    ) -> Result<Vec<Option<Self::Answer>>, PgError> {
        let asks: Vec<&Asked> = asks.iter().collect();
        let rows = by_number(asks.len(), ask(database, GET, &asks).await?)?;
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
        let rows = ask(database, GET, &[&asked]).await?;
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
pub(crate) struct SmallReads;

impl Grouped for SmallReads {
    type Ask = AskedBytes;
    type Answer = Option<FirstChunk>;

    async fn together(
        &self,
        database: &Database,
        asks: &[AskedBytes],
    ) -> Result<Vec<Option<Self::Answer>>, PgError> {
        let asks: Vec<&Asked> = asks.iter().map(|ask| &ask.asked).collect();
        let rows = by_number(asks.len(), ask(database, READ, &asks).await?)?;
        let answer = |row: Option<Row>| row.as_ref().map(first_chunk).transpose().ok();
        Ok(rows.into_iter().map(answer).collect())
    }

    async fn alone(
        &self,
        database: &Database,
        bytes: AskedBytes,
        _: Attempt,
    ) -> Result<Self::Answer, PgError> {
        let rows = ask(database, READ, &[&bytes.asked]).await?;
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
pub(crate) struct Acks;

impl Grouped for Acks {
    type Ask = Asked;
    type Answer = Acked;

    async fn together(
        &self,
        database: &Database,
        asks: &[Asked],
    ) -> Result<Vec<Option<Acked>>, PgError> {
        let columns = Columns::of(asks);
        let acked = database.query_once(ACK, &columns.params()).await?;
        let acked = by_number(asks.len(), acked)?;
        let answers = asks
            .iter()
            .zip(acked)
            .map(|(asked, row)| row.is_some().then_some(Acked::First { at: asked.at }));
        Ok(answers.collect())
    }

    async fn alone(&self, database: &Database, asked: Asked, _: Attempt) -> Result<Acked, PgError> {
        let (file, workspace) = (asked.file.as_uuid(), asked.workspace.as_uuid());
        let now = SystemTime::from(asked.at);
        let params: [&(dyn ToSql + Sync); 3] = [&file, &workspace, &now];
        if !database.query(ACK_ALONE, &params).await?.is_empty() {
            return Ok(Acked::First { at: asked.at });
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
pub(crate) struct FetchNotes;

impl Grouped for FetchNotes {
    type Ask = Asked;
    type Answer = ();

    async fn together(
        &self,
        database: &Database,
        asks: &[Asked],
    ) -> Result<Vec<Option<()>>, PgError> {
        let files: Vec<&Asked> = asks.iter().collect();
        ask(database, MARK_FETCHED, &files).await?;
        Ok(vec![Some(()); asks.len()])
    }

    async fn alone(&self, database: &Database, asked: Asked, _: Attempt) -> Result<(), PgError> {
        ask(database, MARK_FETCHED, &[&asked]).await.map(drop)
    }

    fn exclusive(_: &Asked) -> Option<WorkspaceId> {
        None
    }

    fn bytes(_: &Asked) -> usize {
        0
    }
}
