//! A batch: small files wait in memory for their publish, larger ones go to the disk as they arrive.

use std::sync::Arc;

use async_trait::async_trait;
use pending_uploads_core::{
    Batch, BatchMisuse, Error, FileId, Filename, Mimetype, PendingUpload, Result, Sha256,
    Sha256Hasher, StagedFile, WorkspaceId,
};

use crate::database::Database;
use crate::error::SqliteError;
use crate::files::FileWriter;
use crate::publish::{Placement, Publication};
use crate::staged::{Lease, TakenFiles};
use crate::storage::SqliteStorage;
use crate::writer::{Place, Promise};

/// The largest file whose bytes are kept in a row, in bytes. Measured: see the decision record on
/// where bytes lie.
pub(crate) const ROW_BYTES: usize = 128 * 1024;
/// How many bytes a batch keeps in memory for its rows at most; a file that finds no room goes to
/// the disk.
const MEMORY_BYTES: usize = 512 * 1024;

/// A [`Batch`] on SQLite.
#[derive(Debug)]
pub(crate) struct SqliteBatch {
    storage: SqliteStorage,
    workspace: WorkspaceId,
    health: Health,
    /// There is one from the first file on the disk on.
    lease: Option<Lease>,
    finished: Vec<FinishedFile>,
    open: Option<OpenFile>,
    in_memory: usize,
}

/// Broken while a call is under way: one that fails or is dropped leaves it so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Sound,
    Broken,
}

#[derive(Debug)]
struct OpenFile {
    file_id: FileId,
    filename: Filename,
    mimetype: Mimetype,
    size_bytes: u64,
    hasher: Sha256Hasher,
    body: Body,
}

#[derive(Debug)]
enum Body {
    InMemory(Vec<u8>),
    OnDisk(FileWriter),
}

#[derive(Debug)]
struct FinishedFile {
    staged: StagedFile,
    filename: Filename,
    mimetype: Mimetype,
    placement: Placement,
}

#[async_trait]
impl Batch for SqliteBatch {
    async fn start_file(&mut self, filename: Filename, mimetype: Mimetype) -> Result<FileId> {
        self.check_sound()?;
        if self.open.is_some() {
            return Err(self.misused(BatchMisuse::FileStillOpen));
        }
        let file_id = FileId::generate();
        self.open = Some(OpenFile {
            file_id,
            filename,
            mimetype,
            size_bytes: 0,
            hasher: Sha256Hasher::new(),
            body: Body::InMemory(Vec::new()),
        });
        Ok(file_id)
    }

    async fn write(&mut self, data: &[u8]) -> Result<()> {
        self.check_sound()?;
        let Some(mut file) = self.open.take() else {
            return Err(self.misused(BatchMisuse::NoFileOpen));
        };
        self.health = Health::Broken;
        file.hasher.update(data);
        file.size_bytes += data.len() as u64;
        self.store(&mut file, data).await?;
        self.open = Some(file);
        self.health = Health::Sound;
        Ok(())
    }

    async fn finish_file(&mut self) -> Result<StagedFile> {
        self.check_sound()?;
        let Some(file) = self.open.take() else {
            return Err(self.misused(BatchMisuse::NoFileOpen));
        };
        self.health = Health::Broken;
        if file.size_bytes == 0 {
            return Err(Error::EmptyFile {
                filename: file.filename,
            });
        }
        let placement = match file.body {
            Body::InMemory(data) => Placement::Row(data),
            Body::OnDisk(writer) => {
                writer.finish(self.storage.database()).await?;
                Placement::File
            }
        };
        let sha256: Sha256 = file.hasher.finish();
        let staged = StagedFile {
            file_id: file.file_id,
            size_bytes: file.size_bytes,
            sha256,
        };
        let (filename, mimetype) = (file.filename, file.mimetype);
        self.finished.push(FinishedFile {
            staged,
            filename,
            mimetype,
            placement,
        });
        self.health = Health::Sound;
        Ok(staged)
    }

    async fn publish(mut self: Box<Self>) -> Result<Vec<PendingUpload>> {
        self.check_sound()?;
        if self.open.is_some() {
            return Err(Error::BatchMisused(BatchMisuse::FileStillOpen));
        }
        if self.finished.is_empty() {
            return Err(Error::BatchMisused(BatchMisuse::NoFiles));
        }
        let database = self.storage.database().clone();
        // Waited for here, so that a caller that goes away leaves nothing in the queue.
        let place = database.writer().place(self.in_memory).await?;
        let (publication, lease) = (self.publication(), self.lease.take());
        let work = publish(database.clone(), lease, publication, place);
        Ok(database.run(work).await?)
    }
}

impl SqliteBatch {
    pub(crate) fn new(storage: SqliteStorage, workspace: WorkspaceId) -> Self {
        Self {
            storage,
            workspace,
            health: Health::Sound,
            lease: None,
            finished: Vec::new(),
            open: None,
            in_memory: 0,
        }
    }

    fn check_sound(&self) -> Result<()> {
        match self.health {
            Health::Sound => Ok(()),
            Health::Broken => Err(Error::BatchMisused(BatchMisuse::Broken)),
        }
    }

    fn misused(&mut self, misuse: BatchMisuse) -> Error {
        self.health = Health::Broken;
        Error::BatchMisused(misuse)
    }

    async fn store(&mut self, file: &mut OpenFile, data: &[u8]) -> Result<(), SqliteError> {
        if let Some(lease) = &self.lease {
            lease.touch(self.storage.now())?;
        }
        if let Body::InMemory(held) = &mut file.body {
            let room = self.in_memory + data.len() <= MEMORY_BYTES;
            if room && held.len() + data.len() <= ROW_BYTES {
                held.extend_from_slice(data);
                self.in_memory += data.len();
                return Ok(());
            }
            let held = std::mem::take(held);
            self.in_memory -= held.len();
            file.body = Body::OnDisk(self.move_to_disk(file.file_id, &held).await?);
        }
        match &mut file.body {
            Body::OnDisk(writer) => writer.write(self.storage.database(), data).await,
            Body::InMemory(_) => Ok(()),
        }
    }

    /// The file is noted before it is made: whatever happens then, it is found.
    async fn move_to_disk(
        &mut self,
        file_id: FileId,
        held: &[u8],
    ) -> Result<FileWriter, SqliteError> {
        let (database, now) = (self.storage.database(), self.storage.now());
        let lease = self
            .lease
            .get_or_insert_with(|| database.staged().enter(self.workspace, now));
        lease.add(file_id)?;
        let mut writer = FileWriter::create(database, file_id, lease.watch()).await?;
        writer.write(database, held).await?;
        Ok(writer)
    }

    fn publication(&mut self) -> Publication {
        let created_at = self.storage.now();
        let expires_at = created_at.saturating_add(self.storage.config().ttl);
        let workspace_id = self.workspace;
        let files = std::mem::take(&mut self.finished).into_iter().map(|file| {
            let upload = PendingUpload {
                file_id: file.staged.file_id,
                workspace_id,
                filename: file.filename,
                mimetype: file.mimetype,
                size_bytes: file.staged.size_bytes,
                sha256: file.staged.sha256,
                created_at,
                expires_at,
                fetched_at: None,
                acked_at: None,
            };
            (upload, file.placement)
        });
        Publication {
            workspace: workspace_id,
            created_at,
            quota: self.storage.config().quota,
            files: files.collect(),
        }
    }
}

/// Runs to its end whoever goes away, so that the files on the disk are kept when their rows were
/// committed, and deleted when they were not; and so that whoever waits for the feed is woken.
async fn publish(
    database: Database,
    lease: Option<Lease>,
    publication: Publication,
    place: Place,
) -> Result<Vec<PendingUpload>, SqliteError> {
    let workspace = publication.workspace;
    let folder = Arc::clone(database.folder());
    database.blocking(move || Ok(folder.check_room()?)).await?;
    let published = match lease {
        Some(lease) => publish_with_files(&database, lease.take()?, publication, place).await,
        None => write(&database, publication, place).await,
    };
    if published.is_ok() {
        database.signals().signal(workspace);
    }
    published
}

async fn publish_with_files(
    database: &Database,
    files: TakenFiles,
    publication: Publication,
    place: Place,
) -> Result<Vec<PendingUpload>, SqliteError> {
    let folder = Arc::clone(database.folder());
    let synced = database.blocking(move || Ok(folder.sync_names()?)).await;
    let published = match synced {
        Ok(()) => write(database, publication, place).await,
        Err(error) => Err(error),
    };
    match &published {
        // A commit whose sync failed may come back after a crash: the next open of the folder knows.
        Ok(_) | Err(SqliteError::Commit(..) | SqliteError::Closed) => {}
        Err(_) => {
            let delete = move || {
                files.delete();
                Ok(())
            };
            database.blocking(delete).await?;
        }
    }
    published
}

async fn write(
    database: &Database,
    publication: Publication,
    place: Place,
) -> Result<Vec<PendingUpload>, SqliteError> {
    let work = move |connection: &rusqlite::Connection| publication.write(connection);
    database
        .writer()
        .write_in(place, Promise::Durable, work)
        .await
}
