//! Appending to feeds: the one way through which every writer goes.

use pending_uploads_core::{
    Activity, ActivityId, FeedText, NewActivity, Seq, Timestamp, WorkspaceId,
};
use rusqlite::{Connection, OptionalExtension, named_params};

use crate::error::SqliteError;
use crate::rows::{Id, Json, Time};

const COUNT: &str = "UPDATE feed_counters SET last_seq = last_seq + 1 WHERE workspace_id = ?1 \
     RETURNING last_seq";

const INSERT: &str = "INSERT INTO activity (id, workspace_id, seq, activity_type, source_id, \
         target_id, method, summary, request_body, response_body, duration_ms, status, \
         error_detail, created_at) \
     VALUES (:id, :workspace_id, :seq, :activity_type, :source_id, :target_id, :method, \
         :summary, :request_body, :response_body, :duration_ms, :status, :error_detail, \
         :created_at)";

/// Appends one row, inside the writer's transaction: the numbers follow its order and have no gap.
pub(crate) fn append(
    connection: &Connection,
    workspace: WorkspaceId,
    content: NewActivity,
    created_at: Timestamp,
) -> Result<Activity, SqliteError> {
    let seq: i64 = connection
        .prepare_cached(COUNT)?
        .query_row([Id(workspace.as_uuid())], |row| row.get(0))
        .optional()?
        .ok_or(SqliteError::UnknownWorkspace)?;
    let row = Activity {
        id: ActivityId::generate(),
        workspace_id: workspace,
        seq: Seq(seq),
        created_at,
        content,
    };
    insert(connection, &row)?;
    Ok(row)
}

/// Inserts a row that has its number.
pub(crate) fn insert(connection: &Connection, row: &Activity) -> Result<(), SqliteError> {
    let content = &row.content;
    connection.prepare_cached(INSERT)?.execute(named_params! {
        ":id": Id(row.id.as_uuid()),
        ":workspace_id": Id(row.workspace_id.as_uuid()),
        ":seq": row.seq.0,
        ":activity_type": content.activity_type.as_str(),
        ":source_id": content.source_id.map(|id| Id(id.as_uuid())),
        ":target_id": content.target_id.map(|id| Id(id.as_uuid())),
        ":method": content.method.as_ref().map(FeedText::as_str),
        ":summary": content.summary.as_ref().map(FeedText::as_str),
        ":request_body": content.request_body.clone().map(Json),
        ":response_body": content.response_body.clone().map(Json),
        ":duration_ms": content.duration_ms,
        ":status": content.status.as_str(),
        ":error_detail": content.error_detail.as_ref().map(FeedText::as_str),
        ":created_at": Time(row.created_at),
    })?;
    Ok(())
}
