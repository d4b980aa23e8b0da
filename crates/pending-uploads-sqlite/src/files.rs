//! Writing and reading the files beside the database, on threads that may block.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::mem;
#[cfg(target_os = "linux")]
use std::num::NonZeroU64;
use std::sync::Arc;

use bytes::Bytes;
use pending_uploads_core::FileId;
use tokio::task::JoinHandle;

use crate::appended::{AppendedFile, Burst};
use crate::database::Database;
use crate::error::SqliteError;
use crate::file_writers::FileWriters;
use crate::staged::{LeaseWatch, delete_or_warn};

/// How much is written before a sync of it begins, in bytes. What is synced while the file still
/// arrives is not waited for at its end.
const SYNCED_AHEAD_BYTES: usize = 4 * 1024 * 1024;

/// A file that is being written.
#[derive(Debug)]
pub(crate) struct FileWriter {
    all: FileWriters,
    output: Output,
    burst: Burst,
    /// How much of it was in the system's cache when the last sync of it began.
    synced: usize,
    sync_ahead: Option<JoinHandle<Result<(), SqliteError>>>,
}

/// Where the file is.
#[derive(Debug)]
enum Output {
    /// Here, with nothing written to it yet.
    AtHand(AppendedFile),
    /// On a thread that writes a burst, while the next one is collected.
    Writing(JoinHandle<Result<(AppendedFile, Burst), SqliteError>>),
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
        Ok(Self::of(database, AppendedFile::new(file)))
    }

    fn of(database: &Database, file: AppendedFile) -> Self {
        Self {
            all: database.file_writers().clone(),
            output: Output::AtHand(file),
            burst: database.file_writers().first_burst(),
            synced: 0,
            sync_ahead: None,
        }
    }

    /// Adds bytes; whenever a burst is full, waits until the one before it is written.
    pub(crate) async fn write(
        &mut self,
        database: &Database,
        mut data: &[u8],
    ) -> Result<(), SqliteError> {
        while !data.is_empty() {
            data = self.burst.take(data);
            if self.burst.is_full() {
                self.flush(database).await?;
            }
        }
        Ok(())
    }

    /// Writes what is left, and returns when all of it is on the disk.
    pub(crate) async fn finish(mut self, database: &Database) -> Result<(), SqliteError> {
        let mut file = self.written().await?;
        self.synced_ahead().await?;
        let (folder, burst) = (Arc::clone(database.folder()), self.burst);
        let end = move || {
            folder.check_room()?;
            file.append(&burst)?;
            file.sync()?;
            Ok(burst)
        };
        self.all.take_back(database.blocking(end).await?);
        Ok(())
    }

    /// Begins to sync what is in the cache, if that is much and the sync before has ended.
    async fn sync_ahead(
        &mut self,
        database: &Database,
        file: &AppendedFile,
    ) -> Result<(), SqliteError> {
        let is_under_way = |ahead: &JoinHandle<_>| !ahead.is_finished();
        if file.in_cache() - self.synced < SYNCED_AHEAD_BYTES
            || self.sync_ahead.as_ref().is_some_and(is_under_way)
        {
            return Ok(());
        }
        self.synced_ahead().await?;
        let Ok(same) = file.try_clone() else {
            // Too many files are open. The last sync does it all.
            return Ok(());
        };
        self.synced = file.in_cache();
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
        let mut file = self.written().await?;
        self.sync_ahead(database, &file).await?;
        let next = self.all.next_burst();
        let burst = mem::replace(&mut self.burst, next);
        let folder = Arc::clone(database.folder());
        self.output = Output::Writing(database.begin_blocking(move || {
            folder.check_room()?;
            file.append(&burst)?;
            Ok((file, burst))
        }));
        Ok(())
    }

    /// The file, when nothing is being written to it.
    async fn written(&mut self) -> Result<AppendedFile, SqliteError> {
        match mem::replace(&mut self.output, Output::Lost) {
            Output::AtHand(file) => Ok(file),
            Output::Writing(writing) => {
                let (file, burst) = writing.await.map_err(|_| SqliteError::Closed)??;
                self.all.take_back(burst);
                Ok(file)
            }
            Output::Lost => Err(SqliteError::Closed),
        }
    }
}

/// Begins to read so many bytes from an offset on into the system's cache, for a reader who comes for
/// them soon. It is a hint: what it does not do, reading does.
#[cfg(target_os = "linux")]
pub(crate) fn read_ahead(file: &File, offset: u64, length: u64) {
    use rustix::fs::{Advice, fadvise};
    fadvise(file, offset, NonZeroU64::new(length), Advice::WillNeed).unwrap_or_default();
}

/// There is no such hint here that we know.
#[cfg(not(target_os = "linux"))]
pub(crate) fn read_ahead(_: &File, _: u64, _: u64) {}

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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn a_file_of_any_length_is_whole_and_leaves_its_bursts_to_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).unwrap();
        let first = database.file_writers().first_burst().size();
        let both = first + database.file_writers().next_burst().size();
        for length in [1, first - 1, first, both - 1, both, both + 1, 4 * both + 5] {
            let path = folder.path().join(length.to_string());
            let file = AppendedFile::new(File::create_new(&path).unwrap());
            let mut writer = FileWriter::of(&database, file);
            let data: Vec<u8> = (0..=250).cycle().take(length).collect();
            for piece in data.chunks(100_000) {
                writer.write(&database, piece).await.unwrap();
            }
            writer.finish(&database).await.unwrap();
            assert!(fs::read(path).unwrap() == data, "{length}");
        }
        assert!(database.file_writers().keeps_some());
    }

    #[tokio::test]
    async fn a_large_file_that_goes_through_the_cache_is_synced_while_it_arrives() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).unwrap();
        let path = folder.path().join("large");
        let file = AppendedFile::through_cache(File::create_new(&path).unwrap());
        let mut writer = FileWriter::of(&database, file);
        let data: Vec<u8> = (0..=250).cycle().take(2 * SYNCED_AHEAD_BYTES).collect();
        for piece in data.chunks(100_000) {
            writer.write(&database, piece).await.unwrap();
        }
        assert!(writer.synced >= SYNCED_AHEAD_BYTES, "{}", writer.synced);
        writer.finish(&database).await.unwrap();
        assert!(fs::read(path).unwrap() == data);
    }
}
