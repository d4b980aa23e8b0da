//! Batches that have files on the disk and are not published: who they are, and since when they are
//! silent. Only this process can have any, so that this is kept in memory; what a crash leaves is
//! found when the folder is next opened.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use log::warn;
use pending_uploads_core::{FileId, SweepReason, SweptFile, Timestamp, WorkspaceId};
use tokio::runtime::Handle;

use crate::database::Database;
use crate::error::SqliteError;
use crate::folder::Folder;

/// The batches that are on their way in. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct StagedBatches {
    folder: Arc<Folder>,
    runtime: Handle,
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    next_key: u64,
    batches: HashMap<u64, StagedBatch>,
}

#[derive(Debug)]
struct StagedBatch {
    workspace: WorkspaceId,
    files: Vec<FileId>,
    touched_at: Timestamp,
}

impl StagedBatch {
    fn delete(self, folder: &Folder) -> Vec<SweptFile> {
        let swept = self.files.iter().map(|file_id| SweptFile {
            file_id: *file_id,
            workspace_id: self.workspace,
            filename: None,
            size_bytes: delete_or_warn(folder, *file_id),
            reason: SweepReason::Abandoned,
        });
        swept.collect()
    }
}

impl StagedBatches {
    pub(crate) fn new(folder: Arc<Folder>, runtime: Handle) -> Self {
        Self {
            folder,
            runtime,
            table: Arc::default(),
        }
    }

    /// Notes a batch that is about to make its first file.
    pub(crate) fn enter(&self, workspace: WorkspaceId, now: Timestamp) -> Lease {
        let mut table = self.table();
        let key = table.next_key;
        table.next_key += 1;
        table.batches.insert(
            key,
            StagedBatch {
                workspace,
                files: Vec::new(),
                touched_at: now,
            },
        );
        Lease {
            staged: self.clone(),
            key,
        }
    }

    /// How many files are staged.
    pub(crate) fn file_count(&self) -> u64 {
        self.table()
            .batches
            .values()
            .map(|batch| batch.files.len() as u64)
            .sum()
    }

    /// Deletes the files of one batch that has been silent since before `horizon`.
    pub(crate) fn sweep_one(&self, horizon: Timestamp) -> Vec<SweptFile> {
        let silent = {
            let mut table = self.table();
            let key = table
                .batches
                .iter()
                .find(|(_, batch)| batch.touched_at <= horizon)
                .map(|(key, _)| *key);
            key.and_then(|key| table.batches.remove(&key))
        };
        let Some(batch) = silent else {
            return Vec::new();
        };
        batch.delete(&self.folder)
    }

    /// A thread that panicked while it held the lock left the table whole: every use is one call.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A batch's place among the staged ones. Dropping it deletes the batch's files.
#[derive(Debug)]
pub(crate) struct Lease {
    staged: StagedBatches,
    key: u64,
}

impl Lease {
    /// Shows that the batch is alive.
    pub(crate) fn touch(&self, now: Timestamp) -> Result<(), SqliteError> {
        let mut table = self.staged.table();
        let batch = table
            .batches
            .get_mut(&self.key)
            .ok_or(SqliteError::BatchAbandoned)?;
        batch.touched_at = now;
        Ok(())
    }

    /// What tells, from another thread, whether the batch is still here.
    pub(crate) fn watch(&self) -> LeaseWatch {
        LeaseWatch {
            staged: self.staged.clone(),
            key: self.key,
        }
    }

    /// Notes a file before it is made.
    pub(crate) fn add(&self, file: FileId) -> Result<(), SqliteError> {
        let mut table = self.staged.table();
        let batch = table
            .batches
            .get_mut(&self.key)
            .ok_or(SqliteError::BatchAbandoned)?;
        batch.files.push(file);
        Ok(())
    }

    /// Makes the files' names durable and commits; keeps the files when that was done, and deletes
    /// them when it was not. No sweep touches them meanwhile. It is to run to its end, whoever goes
    /// away.
    pub(crate) async fn settle<T>(
        self,
        database: &Database,
        commit: impl Future<Output = Result<T, SqliteError>>,
    ) -> Result<T, SqliteError> {
        let files = self.take()?;
        let folder = Arc::clone(database.folder());
        let synced = database.blocking(move || Ok(folder.sync_names()?)).await;
        let committed = match synced {
            Ok(()) => commit.await,
            Err(error) => Err(error),
        };
        match &committed {
            // A commit whose sync failed may come back after a crash: the next open of the folder
            // knows.
            Ok(_) | Err(SqliteError::Commit(..) | SqliteError::Closed) => {}
            Err(_) => {
                let delete = move || {
                    files.delete();
                    Ok(())
                };
                database.blocking(delete).await?;
            }
        }
        committed
    }

    /// Takes the batch out, so that no sweep can touch its files any more. They are the caller's to
    /// keep or to delete.
    fn take(self) -> Result<TakenFiles, SqliteError> {
        let batch = self
            .staged
            .table()
            .batches
            .remove(&self.key)
            .ok_or(SqliteError::BatchAbandoned)?;
        Ok(TakenFiles {
            folder: Arc::clone(&self.staged.folder),
            files: batch.files,
        })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let batch = self.staged.table().batches.remove(&self.key);
        if let Some(batch) = batch {
            let folder = Arc::clone(&self.staged.folder);
            let discarded = TakenFiles {
                folder,
                files: batch.files,
            };
            self.staged
                .runtime
                .spawn_blocking(move || discarded.delete());
        }
    }
}

/// Tells whether a batch is still here.
#[derive(Debug)]
pub(crate) struct LeaseWatch {
    staged: StagedBatches,
    key: u64,
}

impl LeaseWatch {
    /// Whether the batch was neither dropped nor swept.
    pub(crate) fn is_held(&self) -> bool {
        self.staged.table().batches.contains_key(&self.key)
    }
}

/// Files on the disk whose fate is about to be decided.
#[derive(Debug)]
struct TakenFiles {
    folder: Arc<Folder>,
    files: Vec<FileId>,
}

impl TakenFiles {
    /// Deletes them; one that cannot be deleted now is deleted when the folder is next opened.
    fn delete(self) {
        for file in self.files {
            delete_or_warn(&self.folder, file);
        }
    }
}

/// Deletes a file and answers how long it was; one that cannot be deleted now is deleted when the
/// folder is next opened.
pub(crate) fn delete_or_warn(folder: &Folder, file: FileId) -> u64 {
    delete_file(folder, file).unwrap_or_else(|error| {
        warn!(file_id:% = file, error:%; "a discarded file is still on the disk");
        0
    })
}

/// One that is gone had no bytes.
fn delete_file(folder: &Folder, file: FileId) -> io::Result<u64> {
    let path = folder.file(file);
    match fs::metadata(&path).and_then(|found| fs::remove_file(&path).map(|()| found.len())) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        outcome => outcome,
    }
}
