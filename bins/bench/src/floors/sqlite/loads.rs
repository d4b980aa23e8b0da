//! The loads on a bare data folder.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension};
use uuid::Uuid;

use super::FloorFolder;
use super::work::{FloorFile, Placement, Work};
use super::writer::{Grouping, Writer};
use crate::error::BenchError;
use crate::floors::{Content, Feeds, FloorError};
use crate::load::{Extent, Worker, Yield, drive};

/// The largest file whose bytes are kept in a row.
const ROW_BYTES: usize = 128 * 1024;
/// How much of a larger one is written at once.
const BURST_BYTES: usize = 512 * 1024;
/// How many files wait for the acks of one load at most.
const MOST_WAITING: u64 = 200_000;

const POLL: &str = "SELECT * FROM activity WHERE workspace_id = ?1 \
     AND seq > (SELECT seq FROM activity WHERE id = ?2 AND workspace_id = ?1) \
     ORDER BY seq ASC LIMIT 100";
const NEWEST: &str = "SELECT id FROM activity WHERE workspace_id = ?1 ORDER BY seq DESC LIMIT 1";

/// Publishes files of `size` bytes, `at_once` of them at a time: in rows when they are small, and in
/// synced files otherwise.
pub(crate) async fn publish(
    folder: &FloorFolder,
    size: u64,
    (grouping, feeds): (Grouping, Feeds),
    at_once: usize,
    extent: Extent,
) -> Result<Yield, BenchError> {
    let writer = Writer::start(folder.connect()?, grouping)?;
    let workspaces = register(&writer, at_once).await?;
    let row = usize::try_from(size).ok().filter(|size| *size <= ROW_BYTES);
    let row = row.and_then(|length| folder.content().pieces(size, length).next());
    let mut workers = Vec::with_capacity(at_once);
    for number in 0..at_once {
        workers.push(Publisher {
            folder: folder.clone(),
            writer: writer.clone(),
            workspace: feeds
                .of(&workspaces, number)
                .ok_or(FloorError::Missing("a workspace"))?,
            size,
            row: row.clone(),
        });
    }
    drive(workers, extent).await
}

async fn register(writer: &Writer, count: usize) -> Result<Vec<Uuid>, FloorError> {
    let workspaces: Vec<Uuid> = (0..count).map(|_| Uuid::now_v7()).collect();
    for workspace in &workspaces {
        writer.write(Work::Register(*workspace)).await?;
    }
    Ok(workspaces)
}

struct Publisher {
    folder: FloorFolder,
    writer: Writer,
    workspace: Uuid,
    size: u64,
    /// The bytes of a file that goes into a row.
    row: Option<Bytes>,
}

impl Worker for Publisher {
    async fn turn(&mut self) -> Result<u64, BenchError> {
        let file_id = Uuid::now_v7();
        let placement = match &self.row {
            Some(data) => Placement::Row(data.clone()),
            None => self.write_file(file_id).await?,
        };
        let file = FloorFile {
            file_id,
            workspace: self.workspace,
            size: self.size,
            placement,
        };
        self.writer.write(Work::Publish(file)).await?;
        Ok(self.size)
    }
}

impl Publisher {
    async fn write_file(&self, file_id: Uuid) -> Result<Placement, FloorError> {
        let (content, size) = (self.folder.content().clone(), self.size);
        let folder = self.folder.files();
        let written =
            tokio::task::spawn_blocking(move || write_file(&folder, file_id, &content, size));
        written
            .await
            .map_err(|_| FloorError::Missing("the thread that wrote a file"))??;
        Ok(Placement::File)
    }
}

/// Writes a file, and makes it and its name durable.
fn write_file(folder: &Path, id: Uuid, content: &Content, size: u64) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .open(folder.join(id.to_string()))?;
    for piece in content.pieces(size, BURST_BYTES) {
        file.write_all(&piece)?;
    }
    file.sync_data()?;
    File::open(folder)?.sync_all()
}

/// Acks files, each of which was made to wait before the clock ran, `at_once` at a time. It ends
/// after 200,000 acks at the latest.
pub(crate) async fn ack(
    folder: &FloorFolder,
    grouping: Grouping,
    at_once: usize,
    extent: Extent,
) -> Result<Yield, BenchError> {
    let turns = extent.turns.min(MOST_WAITING);
    let files = Arc::new(make_waiting(folder, turns)?);
    let writer = Writer::start(folder.connect()?, grouping)?;
    let next = Arc::new(AtomicUsize::new(0));
    let workers = (0..at_once).map(|_| Acker {
        writer: writer.clone(),
        files: Arc::clone(&files),
        next: Arc::clone(&next),
    });
    drive(workers.collect(), Extent { turns, ..extent }).await
}

/// Records alone: an ack has nothing to do with a file's bytes.
fn make_waiting(folder: &FloorFolder, count: u64) -> Result<Vec<FloorFile>, FloorError> {
    let (connection, workspace) = (folder.connect()?, Uuid::now_v7());
    connection.execute_batch("BEGIN IMMEDIATE")?;
    Work::Register(workspace).run(&connection)?;
    let mut files = Vec::new();
    for _ in 0..count {
        let file = FloorFile {
            file_id: Uuid::now_v7(),
            workspace,
            size: 1000,
            placement: Placement::Row(Bytes::new()),
        };
        Work::Record(file.clone()).run(&connection)?;
        files.push(file);
    }
    connection.execute_batch("COMMIT")?;
    Ok(files)
}

struct Acker {
    writer: Writer,
    files: Arc<Vec<FloorFile>>,
    next: Arc<AtomicUsize>,
}

impl Worker for Acker {
    async fn turn(&mut self) -> Result<u64, BenchError> {
        let file = self.files.get(self.next.fetch_add(1, Ordering::Relaxed));
        let file = file.ok_or(FloorError::Missing("a waiting file"))?;
        self.writer.write(Work::Ack(file.clone())).await?;
        Ok(0)
    }
}

/// Asks for what is after the newest row of a feed, over `at_once` connections with a feed each, on
/// the thread that it is called on.
pub(crate) async fn poll(
    folder: &FloorFolder,
    at_once: usize,
    extent: Extent,
) -> Result<Yield, BenchError> {
    let writer = Writer::start(folder.connect()?, Grouping::Together)?;
    let mut workers = Vec::with_capacity(at_once);
    for workspace in register(&writer, at_once).await? {
        let file = FloorFile {
            file_id: Uuid::now_v7(),
            workspace,
            size: 1,
            placement: Placement::File,
        };
        writer.write(Work::Publish(file)).await?;
        workers.push(Poller::begin(folder.connect()?, workspace)?);
    }
    drive(workers, extent).await
}

struct Poller {
    connection: Connection,
    workspace: Uuid,
    cursor: Vec<u8>,
}

impl Poller {
    fn begin(connection: Connection, workspace: Uuid) -> Result<Self, FloorError> {
        let id = [workspace.as_bytes().as_slice()];
        let cursor = connection.query_row(NEWEST, id, |row| row.get("id"))?;
        Ok(Self {
            connection,
            workspace,
            cursor,
        })
    }

    fn poll(&self) -> Result<(), FloorError> {
        let mut poll = self.connection.prepare_cached(POLL)?;
        let of = [self.workspace.as_bytes().as_slice(), self.cursor.as_slice()];
        match poll.query_row(of, |_| Ok(())).optional()? {
            None => Ok(()),
            Some(()) => Err(FloorError::Missing("the end of an idle feed")),
        }
    }
}

impl Worker for Poller {
    async fn turn(&mut self) -> Result<u64, BenchError> {
        self.poll()?;
        Ok(0)
    }
}
