//! Columns, read back into the types that cannot hold a bad value.

use pending_uploads_core::{
    FileId, Filename, Mimetype, PendingUpload, Sha256, Timestamp, WorkspaceId,
};
use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde_json::Value;
use uuid::Uuid;

use crate::bundle::Slot;
use crate::error::SqliteError;

/// A UUID, kept as its 16 bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Id(pub(crate) Uuid);

impl ToSql for Id {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0.as_bytes().as_slice()))
    }
}

impl FromSql for Id {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes: [u8; 16] = value
            .as_blob()?
            .try_into()
            .map_err(|_| FromSqlError::InvalidType)?;
        Ok(Self(Uuid::from_bytes(bytes)))
    }
}

/// A time, kept as its microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Time(pub(crate) Timestamp);

impl ToSql for Time {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0.as_micros()))
    }
}

impl FromSql for Time {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value
            .as_i64()
            .map(|micros| Self(Timestamp::from_micros(micros)))
    }
}

/// A JSON document that was kept as its text.
#[derive(Debug, Clone)]
pub(crate) struct Json(pub(crate) Value);

/// A JSON document that is to be kept as its text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JsonText<'a>(pub(crate) &'a Value);

impl ToSql for JsonText<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0.to_string()))
    }
}

impl FromSql for Json {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?)
            .map(Self)
            .map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

/// The parameters of every statement about one file of one workspace.
pub(crate) fn key(workspace: WorkspaceId, file: FileId, now: Timestamp) -> (Id, Id, Time) {
    (Id(file.as_uuid()), Id(workspace.as_uuid()), Time(now))
}

/// The columns that [`pending_upload`] reads.
macro_rules! upload_columns {
    () => {
        "file_id, workspace_id, filename, original_name, mimetype, size_bytes, sha256, \
         created_at, expires_at, fetched_at, acked_at"
    };
}
pub(crate) use upload_columns;

/// Reads a row of `pending_uploads`.
pub(crate) fn pending_upload(row: &Row<'_>) -> Result<PendingUpload, SqliteError> {
    Ok(PendingUpload {
        file_id: FileId::from_uuid(row.get::<_, Id>("file_id")?.0),
        workspace_id: WorkspaceId::from_uuid(row.get::<_, Id>("workspace_id")?.0),
        filename: filename(row)?,
        mimetype: mimetype(row)?,
        size_bytes: byte_count(row, "size_bytes")?,
        sha256: Sha256::from_bytes(row.get("sha256")?),
        created_at: row.get::<_, Time>("created_at")?.0,
        expires_at: row.get::<_, Time>("expires_at")?.0,
        fetched_at: row.get::<_, Option<Time>>("fetched_at")?.map(|time| time.0),
        acked_at: row.get::<_, Option<Time>>("acked_at")?.map(|time| time.0),
    })
}

/// Where the bytes of a published file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Location {
    Row,
    /// In a file of its own.
    File,
    Bundle(Slot),
}

/// The columns that [`location`] reads.
macro_rules! location_columns {
    () => {
        "placement, bundle_id, bundle_offset"
    };
}
pub(crate) use location_columns;

/// Reads where a file's bytes are.
pub(crate) fn location(row: &Row<'_>) -> Result<Location, SqliteError> {
    if row.get_ref("placement")?.as_str() == Ok("row") {
        return Ok(Location::Row);
    }
    let Some(Id(bundle)) = row.get("bundle_id")? else {
        return Ok(Location::File);
    };
    Ok(Location::Bundle(Slot {
        bundle: FileId::from_uuid(bundle),
        offset: byte_count(row, "bundle_offset")?,
    }))
}

/// Reads the two halves of a name.
pub(crate) fn filename(row: &Row<'_>) -> Result<Filename, SqliteError> {
    Filename::restore(row.get("filename")?, row.get("original_name")?)
        .map_err(|_| SqliteError::Damaged("a file name is not a sanitized one"))
}

/// Reads a count of bytes, which SQLite keeps signed.
pub(crate) fn byte_count(row: &Row<'_>, name: &str) -> Result<u64, SqliteError> {
    u64::try_from(row.get::<_, i64>(name)?).map_err(|_| SqliteError::Damaged("a count is negative"))
}

/// A count of bytes, as SQLite keeps it.
pub(crate) fn signed(bytes: u64) -> Result<i64, SqliteError> {
    i64::try_from(bytes).map_err(|_| SqliteError::Damaged("a file is too long to be counted"))
}

fn mimetype(row: &Row<'_>) -> Result<Mimetype, SqliteError> {
    let stored: String = row.get("mimetype")?;
    let parsed = Mimetype::parse(&stored);
    if parsed.as_str() == stored {
        Ok(parsed)
    } else {
        Err(SqliteError::Damaged("a media type is not a safe one"))
    }
}
