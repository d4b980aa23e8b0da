//! Writing and reading the files beside the database, on threads that may block.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use bytes::Bytes;
use pending_uploads_core::FileId;
use tokio::task::JoinHandle;

use crate::database::Database;
use crate::error::SqliteError;
use crate::staged::{LeaseWatch, delete_or_warn};

/// How much is collected before it is written, in bytes; as much again is being written meanwhile.
const BURST_BYTES: usize = 256 * 1024;

/// How much is written before a sync of it begins, in bytes. What is synced while the file still
/// arrives is not waited for at its end.
const SYNCED_AHEAD_BYTES: usize = 4 * 1024 * 1024;

/// A file that is being written.
#[derive(Debug)]
pub(crate) struct FileWriter {
    output: Output,
    burst: Vec<u8>,
    /// How much was written since the last sync began.
    unsynced: usize,
    sync_ahead: Option<JoinHandle<Result<(), SqliteError>>>,
}

/// Where the file is.
#[derive(Debug)]
enum Output {
    /// Here, with an empty burst to be filled next.
    AtHand(File, Vec<u8>),
    /// On a thread that writes a burst, while the next one is collected.
    Writing(JoinHandle<Result<(File, Vec<u8>), SqliteError>>),
    /// A write failed, or its future was dropped.
    Lost,
}

impl FileWriter {
    /// Makes the file, which nobody else has, for its owner's eyes only. A batch that was dropped or
    /// swept meanwhile has had its files deleted already, so that this one is deleted here.
    pub(crate) async fn create(
        database: &Database,
        file: FileId,
        batch: LeaseWatch,
    ) -> Result<Self, SqliteError> {
        let folder = Arc::clone(database.folder());
        let create = move || {
            let created = folder.create(file)?;
            if batch.is_held() {
                return Ok(created);
            }
            delete_or_warn(&folder, file);
            Err(SqliteError::BatchAbandoned)
        };
        let file = database.blocking(create).await?;
        Ok(Self {
            output: Output::AtHand(file, Vec::new()),
            burst: Vec::new(),
            unsynced: 0,
            sync_ahead: None,
        })
    }

    /// Adds bytes; whenever a burst is full, waits until the one before it is written.
    pub(crate) async fn write(
        &mut self,
        database: &Database,
        mut data: &[u8],
    ) -> Result<(), SqliteError> {
        while !data.is_empty() {
            let fits = data.len().min(BURST_BYTES - self.burst.len());
            let (taken, rest) = data.split_at_checked(fits).unwrap_or((data, &[]));
            self.burst.extend_from_slice(taken);
            data = rest;
            if self.burst.len() == BURST_BYTES {
                self.flush(database).await?;
            }
        }
        Ok(())
    }

    /// Writes what is left, and returns when all of it is on the disk.
    pub(crate) async fn finish(mut self, database: &Database) -> Result<(), SqliteError> {
        self.flush(database).await?;
        let (file, _) = self.written().await?;
        self.synced_ahead().await?;
        database.blocking(move || Ok(file.sync_data()?)).await
    }

    /// Begins to sync what is written, if that is much and the sync before has ended.
    async fn sync_ahead(&mut self, database: &Database, file: &File) -> Result<(), SqliteError> {
        let is_under_way = |ahead: &JoinHandle<_>| !ahead.is_finished();
        if self.unsynced < SYNCED_AHEAD_BYTES || self.sync_ahead.as_ref().is_some_and(is_under_way)
        {
            return Ok(());
        }
        self.synced_ahead().await?;
        let Ok(same) = file.try_clone() else {
            // Too many files are open. The last sync does it all.
            return Ok(());
        };
        self.unsynced = 0;
        self.sync_ahead = Some(database.begin_blocking(move || Ok(same.sync_data()?)));
        Ok(())
    }

    /// Waits for the sync that has begun. The system tells of a failed write once: to the sync that
    /// meets it.
    async fn synced_ahead(&mut self) -> Result<(), SqliteError> {
        match self.sync_ahead.take() {
            Some(ahead) => ahead.await.map_err(|_| SqliteError::Closed)?,
            None => Ok(()),
        }
    }

    /// Sends the burst on its way, once the one before has been written.
    async fn flush(&mut self, database: &Database) -> Result<(), SqliteError> {
        let (mut file, empty) = self.written().await?;
        self.sync_ahead(database, &file).await?;
        self.unsynced += self.burst.len();
        let mut burst = std::mem::replace(&mut self.burst, empty);
        let folder = Arc::clone(database.folder());
        self.output = Output::Writing(database.begin_blocking(move || {
            folder.check_room()?;
            file.write_all(&burst)?;
            burst.clear();
            Ok((file, burst))
        }));
        Ok(())
    }

    /// The file when nothing is being written to it, and an empty burst.
    async fn written(&mut self) -> Result<(File, Vec<u8>), SqliteError> {
        match std::mem::replace(&mut self.output, Output::Lost) {
            Output::AtHand(file, burst) => Ok((file, burst)),
            Output::Writing(writing) => writing.await.map_err(|_| SqliteError::Closed)?,
            Output::Lost => Err(SqliteError::Closed),
        }
    }
}

/// Reads so many bytes from an offset on.
pub(crate) fn read_at(file: &mut File, offset: u64, length: u64) -> Result<Bytes, SqliteError> {
    let missing = SqliteError::Damaged("bytes of a file are missing");
    let capacity = usize::try_from(length).map_err(|_| SqliteError::NotFound)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut data = Vec::with_capacity(capacity);
    file.take(length).read_to_end(&mut data)?;
    if data.len() == capacity {
        Ok(data.into())
    } else {
        Err(missing)
    }
}
