//! Look-ups, with the bytes of small files or without, acks and notes of fetches: one statement for
//! all that are asked for at once.
//!
//! Each statement takes the files and their workspaces as columns, and answers by the number of the
//! question. All are answered as of the time at which the statement is sent, on a connection that is
//! at hand by then, so that nothing is handed over that expired while it was waited for.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use pending_uploads_core::{CheckedAck, Clock, FileId, Opened, PendingUpload, Sha256, WorkspaceId};
use tokio_postgres::Row;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

use crate::batch::Attempt;
use crate::chunks::{CHUNK_BYTES, CHUNK_BYTES_I32};
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

/// The record of each file, and the chunks of those that wait and have $4 bytes at the most: two of
/// a file that was sent in one piece, more of another. More than it has when it is cut as it is now
/// are not read.
const OPEN: &str = concat!(
    "SELECT no, upload.*, seq, data FROM ",
    records!(upload_columns!(), "", ""),
    " LEFT JOIN LATERAL (SELECT seq, data FROM pending_upload_chunks AS chunk \
         WHERE chunk.file_id = upload.file_id \
             AND upload.acked_at IS NULL AND upload.size_bytes <= $4 \
         ORDER BY chunk.seq LIMIT 16) AS chunk ON true"
);
/// The largest file whose bytes come with its record.
const OPENED_BYTES: usize = 2 * CHUNK_BYTES;
const OPENED_BYTES_I64: i64 = 2 * CHUNK_BYTES_I32 as i64;

/// Locks rows in one statement with their update; one that somebody else has locked is passed by, and
/// so is one that has not the digest, of $4, that it is asked for with. A file that is asked for twice
/// is acked once, by the first who asked.
const ACK: &str = concat!(
    "WITH locked AS MATERIALIZED ( \
         SELECT file_id AS locked_file, no FROM ",
    records!(
        "file_id",
        " AND acked_at IS NULL \
         AND (($4::bytea[])[no::int4] IS NULL OR sha256 = ($4::bytea[])[no::int4])",
        " FOR NO KEY UPDATE SKIP LOCKED"
    ),
    "), first AS ( \
         SELECT DISTINCT ON (locked_file) locked_file, no FROM locked ORDER BY locked_file, no \
     ), acked AS ( \
         UPDATE pending_uploads SET acked_at = $3 FROM first \
         WHERE file_id = locked_file RETURNING first.no, ",
    upload_columns!(),
    " ) SELECT * FROM acked"
);
const ACK_ALONE: &str = concat!(
    "UPDATE pending_uploads SET acked_at = $3 WHERE file_id = $1 \
     AND (workspace_id = $2 AND acked_at IS NULL AND expires_at > $3 \
         AND ($4::bytea IS NULL OR sha256 = $4)) IS TRUE RETURNING ",
    upload_columns!()
);
const NOT_ACKED: &str = "SELECT acked_at, sha256 FROM pending_uploads WHERE file_id = $1 \
     AND (workspace_id = $2 AND expires_at > $3) IS TRUE";

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
pub(crate) struct Now<'a>(pub(crate) &'a dyn Clock);

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
fn by_number(count: usize, rows: Vec<Row>) -> Result<Vec<Vec<Row>>, PgError> {
    let mut places: Vec<Vec<Row>> = std::iter::repeat_with(Vec::new).take(count).collect();
    for row in rows {
        let no = rows::byte_count(&row, "no")?;
        let place = usize::try_from(no.saturating_sub(1)).ok();
        let place = place.and_then(|place| places.get_mut(place));
        place
            .ok_or(PgError::Damaged("an answer to no question"))?
            .push(row);
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
        let answer = |rows: Vec<Row>| rows.first().map(rows::pending_upload).transpose().ok();
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
}

/// Looks records up, with the bytes of small files; none where there is no such file.
#[derive(Debug)]
pub(crate) struct Opens {
    pub(crate) clock: Arc<dyn Clock>,
}

impl Opens {
    async fn ask(&self, database: &Database, asks: &[Asked]) -> Result<Vec<Row>, PgError> {
        let columns = Columns::of(asks, &*self.clock);
        let params = [&columns.params()[..], &[&OPENED_BYTES_I64]].concat();
        database.query(OPEN, &params).await
    }
}

impl Grouped for Opens {
    type Ask = Asked;
    type Answer = Option<Opened>;

    /// What is read is copied out at once.
    const GROUP_BYTES: usize = 4 * 1024 * 1024;

    async fn together(
        &self,
        database: &Database,
        asks: &[Asked],
    ) -> Result<Vec<Option<Self::Answer>>, PgError> {
        let rows = self.ask(database, asks).await?;
        let rows = by_number(asks.len(), rows)?;
        // A record that is damaged is whoever's asked for it.
        let answer = |rows: Vec<Row>| opened(&rows).ok();
        Ok(rows.into_iter().map(answer).collect())
    }

    async fn alone(
        &self,
        database: &Database,
        asked: Asked,
        _: Attempt,
    ) -> Result<Self::Answer, PgError> {
        opened(&self.ask(database, &[asked]).await?)
    }

    fn bytes(_: &Asked) -> usize {
        OPENED_BYTES
    }
}

/// A record, which is in each of its rows, and the chunks that are in one each. The bytes are copied
/// out: a slow peer would keep the memory of its whole group.
fn opened(rows: &[Row]) -> Result<Option<Opened>, PgError> {
    let Some(upload) = rows.first().map(rows::pending_upload).transpose()? else {
        return Ok(None);
    };
    let mut chunks = Vec::with_capacity(rows.len());
    for row in rows {
        let seq: Option<i32> = rows::column(row, "seq")?;
        let data: Option<&[u8]> = rows::column(row, "data")?;
        chunks.extend(seq.zip(data));
    }
    chunks.sort_by_key(|(seq, _)| *seq);
    let held: u64 = chunks.iter().map(|(_, data)| data.len() as u64).sum();
    let whole = held == upload.size_bytes;
    let bytes = whole.then(|| {
        let data: Vec<&[u8]> = chunks.into_iter().map(|(_, data)| data).collect();
        Bytes::from(data.concat())
    });
    Ok(Some(Opened { upload, bytes }))
}

/// An ack of a file that has the digest, if one is claimed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AskedAck {
    pub(crate) asked: Asked,
    pub(crate) claimed: Option<Sha256>,
}

impl AskedAck {
    fn digest(&self) -> Option<&[u8]> {
        self.claimed.as_ref().map(|digest| &digest.as_bytes()[..])
    }
}

/// Acks files.
#[derive(Debug)]
pub(crate) struct Acks {
    pub(crate) clock: Arc<dyn Clock>,
}

impl Grouped for Acks {
    type Ask = AskedAck;
    type Answer = CheckedAck;

    async fn together(
        &self,
        database: &Database,
        asks: &[AskedAck],
    ) -> Result<Vec<Option<CheckedAck>>, PgError> {
        let columns = Columns::of(asks.iter().map(|ack| &ack.asked), &*self.clock);
        let digests: Vec<Option<&[u8]>> = asks.iter().map(AskedAck::digest).collect();
        let params = [&columns.params()[..], &[&digests]].concat();
        let acked = database.query_once(ACK, &params).await?;
        let acked = by_number(asks.len(), acked)?;
        let first = |rows: Vec<Row>| rows.first().map(first_ack).transpose();
        acked.into_iter().map(first).collect()
    }

    async fn alone(
        &self,
        database: &Database,
        ack: AskedAck,
        _: Attempt,
    ) -> Result<CheckedAck, PgError> {
        let (file, workspace) = (ack.asked.file.as_uuid(), ack.asked.workspace.as_uuid());
        let (now, digest) = (Now(&*self.clock), ack.digest());
        let params: [&(dyn ToSql + Sync); 4] = [&file, &workspace, &now, &digest];
        if let Some(row) = database.query(ACK_ALONE, &params).await?.first() {
            return first_ack(row);
        }
        let found = database.query(NOT_ACKED, &params[..3]).await?;
        let row = found.first().ok_or(PgError::NotFound)?;
        let sha256 = rows::sha256(row)?;
        if ack.claimed.is_some_and(|digest| digest != sha256) {
            return Ok(CheckedAck::Mismatch);
        }
        let at = rows::optional_time(row, "acked_at")?.ok_or(PgError::NotFound)?;
        Ok(CheckedAck::Again { at })
    }
}

fn first_ack(row: &Row) -> Result<CheckedAck, PgError> {
    Ok(CheckedAck::First(rows::pending_upload(row)?))
}

/// Notes that files were handed over.
#[derive(Debug)]
pub(crate) struct FetchNotes {
    pub(crate) clock: Arc<dyn Clock>,
}

impl Grouped for FetchNotes {
    type Ask = Asked;
    type Answer = ();

    const PAUSE: Duration = Duration::from_millis(5);

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
}
