//! Appending to feeds: the one way through which every writer goes.

use pending_uploads_core::{ActivityId, FeedText, NewActivity, Seq, Timestamp, WorkspaceId};
use rusqlite::{Connection, OptionalExtension, named_params};

use crate::error::SqliteError;
use crate::rows::{Id, JsonText, Time};

const COUNT: &str = "UPDATE feed_counters SET last_seq = last_seq + 1 WHERE workspace_id = ?1 \
     RETURNING last_seq";

const INSERT: &str = "INSERT INTO activity (id, workspace_id, seq, activity_type, source_id, \
         target_id, method, summary, request_body, response_body, duration_ms, status, \
         error_detail, created_at) \
     VALUES (:id, :workspace_id, :seq, :activity_type, :source_id, :target_id, :method, \
         :summary, :request_body, :response_body, :duration_ms, :status, :error_detail, \
         :created_at)";

/// Appends one row, inside the writer's transaction: the numbers follow its order and have no gap.
/// Answers its id and its number.
pub(crate) fn append(
    connection: &Connection,
    workspace: WorkspaceId,
    content: &NewActivity,
    created_at: Timestamp,
) -> Result<(ActivityId, Seq), SqliteError> {
    let seq = connection
        .prepare_cached(COUNT)?
        .query_row([Id(workspace.as_uuid())], |row| row.get(0))
        .optional()?
        .map(Seq)
        .ok_or(SqliteError::UnknownWorkspace)?;
    let id = insert_new(connection, workspace, seq, content, created_at)?;
    Ok((id, seq))
}

/// Inserts a row under a number that the counter has just given out; answers its id.
pub(crate) fn insert_new(
    connection: &Connection,
    workspace: WorkspaceId,
    seq: Seq,
    content: &NewActivity,
    created_at: Timestamp,
) -> Result<ActivityId, SqliteError> {
    let id = ActivityId::generate();
    insert(connection, (id, workspace, seq), content, created_at)?;
    Ok(id)
}

/// Inserts a row that has its id and its number.
pub(crate) fn insert(
    connection: &Connection,
    (id, workspace, seq): (ActivityId, WorkspaceId, Seq),
    content: &NewActivity,
    created_at: Timestamp,
) -> Result<(), SqliteError> {
    connection.prepare_cached(INSERT)?.execute(named_params! {
        ":id": Id(id.as_uuid()),
        ":workspace_id": Id(workspace.as_uuid()),
        ":seq": seq.0,
        ":activity_type": content.activity_type.as_str(),
        ":source_id": content.source_id.map(|id| Id(id.as_uuid())),
        ":target_id": content.target_id.map(|id| Id(id.as_uuid())),
        ":method": content.method.as_ref().map(FeedText::as_str),
        ":summary": content.summary.as_ref().map(FeedText::as_str),
        ":request_body": content.request_body.as_ref().map(JsonText),
        ":response_body": content.response_body.as_ref().map(JsonText),
        ":duration_ms": content.duration_ms,
        ":status": content.status.as_str(),
        ":error_detail": content.error_detail.as_ref().map(FeedText::as_str),
        ":created_at": Time(created_at),
    })?;
    Ok(())
}
