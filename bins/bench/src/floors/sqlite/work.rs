//! What the bare loop writes: the rows of a published file, and the mark of an ack.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rusqlite::{Connection, params};
use serde_json::json;
use uuid::Uuid;

use crate::floors::FloorError;

const DAY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;
/// A digest that nobody has taken.
const DIGEST: [u8; 32] = [0xA5; 32];

const INSERT_UPLOAD: &str = "INSERT INTO pending_uploads (file_id, workspace_id, filename, \
         original_name, mimetype, size_bytes, sha256, placement, created_at, expires_at) \
     VALUES (?1, ?2, 'floor.bin', 'floor.bin', 'application/octet-stream', ?3, ?4, ?5, ?6, ?7)";
const INSERT_BYTES: &str = "INSERT INTO pending_upload_bytes (file_id, data) VALUES (?1, ?2)";
const COUNT: &str = "UPDATE feed_counters SET last_seq = last_seq + 1, \
         waiting_files = waiting_files + 1, waiting_bytes = waiting_bytes + ?2 \
     WHERE workspace_id = ?1 RETURNING last_seq";
const APPEND: &str = "INSERT INTO activity (id, workspace_id, seq, activity_type, target_id, \
         method, summary, request_body, status, created_at) \
     VALUES (?1, ?2, ?3, 'a2a_receive', ?2, 'chat_upload_receive', \
         'chat_upload_receive: floor.bin', ?4, 'ok', ?5)";
const ACK: &str = "UPDATE pending_uploads SET acked_at = ?3 \
     WHERE file_id = ?1 AND workspace_id = ?2 AND acked_at IS NULL AND expires_at > ?3";
const REGISTER: &str = "INSERT INTO workspaces (id, delivery_mode, inbound_secret, token_sha256, \
     created_at, updated_at) VALUES (?1, 'poll', '', zeroblob(32), 0, 0)";
const OPEN_FEED: &str = "INSERT INTO feed_counters (workspace_id) VALUES (?1)";

/// A piece of work for the writing thread.
#[derive(Debug, Clone)]
pub(super) enum Work {
    /// Registers a workspace.
    Register(Uuid),
    /// Writes the rows of a file, and adds it to the bounds of what waits, as a quota would.
    Publish(FloorFile),
    /// Writes the record of a file alone, for an ack to come.
    Record(FloorFile),
    /// Marks a file.
    Ack(FloorFile),
}

/// A file that is being published.
#[derive(Debug, Clone)]
pub(super) struct FloorFile {
    pub(super) file_id: Uuid,
    pub(super) workspace: Uuid,
    pub(super) size: u64,
    pub(super) placement: Placement,
}

/// Where its bytes are.
#[derive(Debug, Clone)]
pub(super) enum Placement {
    /// In a row, from its publish on.
    Row(Bytes),
    /// In a file, already on the disk.
    File,
}

impl Work {
    /// Does it, inside the writer's transaction.
    pub(super) fn run(&self, connection: &Connection) -> Result<(), FloorError> {
        match self {
            Self::Register(workspace) => register(connection, workspace),
            Self::Publish(file) => publish(connection, file),
            Self::Record(file) => insert(connection, file, now()?),
            Self::Ack(file) => ack(connection, file),
        }
    }
}

fn register(connection: &Connection, workspace: &Uuid) -> Result<(), FloorError> {
    let id = [workspace.as_bytes().as_slice()];
    connection.prepare_cached(REGISTER)?.execute(id)?;
    connection.prepare_cached(OPEN_FEED)?.execute(id)?;
    Ok(())
}

fn publish(connection: &Connection, file: &FloorFile) -> Result<(), FloorError> {
    let (now, workspace) = (now()?, file.workspace.as_bytes().as_slice());
    insert(connection, file, now)?;
    if let Placement::Row(data) = &file.placement {
        let row = params![file.file_id.as_bytes().as_slice(), &**data];
        connection.prepare_cached(INSERT_BYTES)?.execute(row)?;
    }
    let seq: i64 = connection
        .prepare_cached(COUNT)?
        .query_row(params![workspace, i64::try_from(file.size)?], |row| {
            row.get(0)
        })?;
    let id = Uuid::now_v7();
    let row = params![
        id.as_bytes().as_slice(),
        workspace,
        seq,
        announcement(file),
        now
    ];
    connection.prepare_cached(APPEND)?.execute(row)?;
    Ok(())
}

fn insert(connection: &Connection, file: &FloorFile, now: i64) -> Result<(), FloorError> {
    let placement = match file.placement {
        Placement::Row(_) => "row",
        Placement::File => "file",
    };
    connection.prepare_cached(INSERT_UPLOAD)?.execute(params![
        file.file_id.as_bytes().as_slice(),
        file.workspace.as_bytes().as_slice(),
        i64::try_from(file.size)?,
        DIGEST.as_slice(),
        placement,
        now,
        now + DAY_MICROS,
    ])?;
    Ok(())
}

fn ack(connection: &Connection, file: &FloorFile) -> Result<(), FloorError> {
    let (id, workspace) = (file.file_id.as_bytes(), file.workspace.as_bytes());
    let marked = connection.prepare_cached(ACK)?.execute(params![
        id.as_slice(),
        workspace.as_slice(),
        now()?
    ])?;
    if marked == 1 {
        Ok(())
    } else {
        Err(FloorError::Missing("a waiting file"))
    }
}

fn announcement(file: &FloorFile) -> String {
    json!({
        "file_id": file.file_id,
        "name": "floor.bin",
        "mimeType": "application/octet-stream",
        "size": file.size,
        "uri": format!("platform-pending:{}/{}", file.workspace, file.file_id),
        "originalName": "floor.bin",
        "sha256": "a5".repeat(DIGEST.len()),
    })
    .to_string()
}

/// In microseconds, as the schema has it.
fn now() -> Result<i64, FloorError> {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Ok(i64::try_from(since.as_micros())?)
}
