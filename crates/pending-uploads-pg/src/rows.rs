//! Rows of tables, read back into the types that cannot hold a bad value.

use std::time::SystemTime;

use pending_uploads_core::{
    FileId, Filename, Mimetype, PendingUpload, Sha256, Timestamp, WorkspaceId,
};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::error::PgError;

/// The first day of the year 1: PostgreSQL knows no earlier times than 4713 BC, and no row is from
/// before either.
pub(crate) const EARLIEST: Timestamp = Timestamp::from_micros(-62_135_596_800_000_000);

/// A time that PostgreSQL can compare with; one from before all rows is as good as another.
pub(crate) fn stored_time(time: Timestamp) -> SystemTime {
    time.max(EARLIEST).into()
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
pub(crate) fn pending_upload(row: &Row) -> Result<PendingUpload, PgError> {
    Ok(PendingUpload {
        file_id: FileId::from_uuid(column(row, "file_id")?),
        workspace_id: WorkspaceId::from_uuid(column(row, "workspace_id")?),
        filename: filename(row)?,
        mimetype: mimetype(row)?,
        size_bytes: byte_count(row, "size_bytes")?,
        sha256: sha256(row)?,
        created_at: time(row, "created_at")?,
        expires_at: time(row, "expires_at")?,
        fetched_at: optional_time(row, "fetched_at")?,
        acked_at: optional_time(row, "acked_at")?,
    })
}

/// Reads the two halves of a name.
pub(crate) fn filename(row: &Row) -> Result<Filename, PgError> {
    Filename::restore(column(row, "filename")?, column(row, "original_name")?)
        .map_err(|_| PgError::Damaged("a file name is not a sanitized one"))
}

/// Reads a count of bytes, which PostgreSQL keeps signed.
pub(crate) fn byte_count(row: &Row, name: &'static str) -> Result<u64, PgError> {
    let count: i64 = column(row, name)?;
    u64::try_from(count).map_err(|_| PgError::Damaged("a count is negative"))
}

/// Reads a time.
pub(crate) fn time(row: &Row, name: &'static str) -> Result<Timestamp, PgError> {
    column::<SystemTime>(row, name).map(Timestamp::from)
}

/// Reads a UUID.
pub(crate) fn uuid(row: &Row, name: &'static str) -> Result<Uuid, PgError> {
    column(row, name)
}

/// Reads a column of the type that it was declared with; another type is an error, not a panic.
pub(crate) fn column<'a, T>(row: &'a Row, name: &'static str) -> Result<T, PgError>
where
    T: tokio_postgres::types::FromSql<'a>,
{
    Ok(row.try_get(name)?)
}

/// Reads a time that may be absent.
pub(crate) fn optional_time(row: &Row, name: &'static str) -> Result<Option<Timestamp>, PgError> {
    let time: Option<SystemTime> = column(row, name)?;
    Ok(time.map(Timestamp::from))
}

fn mimetype(row: &Row) -> Result<Mimetype, PgError> {
    let stored: &str = column(row, "mimetype")?;
    let parsed = Mimetype::parse(stored);
    if parsed.as_str() == stored {
        Ok(parsed)
    } else {
        Err(PgError::Damaged("a media type is not a safe one"))
    }
}

pub(crate) fn sha256(row: &Row) -> Result<Sha256, PgError> {
    let stored: &[u8] = column(row, "sha256")?;
    stored
        .try_into()
        .map(Sha256::from_bytes)
        .map_err(|_| PgError::Damaged("a digest is not 32 bytes long"))
}
