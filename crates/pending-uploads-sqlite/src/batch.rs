//! A batch: small files wait in memory for their publish, larger ones go to the disk as they arrive.

use std::mem;

use async_trait::async_trait;
use pending_uploads_core::{
    Batch, BatchFiles, FileId, Filename, Mimetype, PendingUpload, Result, StagedFile, WorkspaceId,
};

use crate::bundle::Writing;
use crate::database::Database;
use crate::error::SqliteError;
use crate::files::FileWriter;
use crate::publish::{Placement, Publication};
use crate::staged::Lease;
use crate::storage::SqliteStorage;
use crate::writer::Place;

/// The largest file whose bytes wait in memory for their publish, and then lie in a row or a bundle,
/// in bytes. Measured: see the decision record on where bytes lie.
pub(crate) const ROW_BYTES: usize = 128 * 1024;
/// How many bytes a batch keeps in memory for that at most; a file that finds no room goes to
/// the disk.
const MEMORY_BYTES: usize = 512 * 1024;

/// A [`Batch`] on SQLite.
#[derive(Debug)]
pub(crate) struct SqliteBatch {
    storage: SqliteStorage,
    files: BatchFiles,
    /// The bytes of the open file.
    open: Body,
    /// Where the bytes of the finished files are, in their order.
    placements: Vec<Placement>,
    /// There is one from the first file on the disk on.
    lease: Option<Lease>,
    in_memory: usize,
}

#[derive(Debug)]
enum Body {
    InMemory(Vec<u8>),
    OnDisk(FileWriter),
}

impl Default for Body {
    fn default() -> Self {
        Self::InMemory(Vec::new())
    }
}

#[async_trait]
impl Batch for SqliteBatch {
    async fn start_file(&mut self, filename: Filename, mimetype: Mimetype) -> Result<FileId> {
        self.files.start(filename, mimetype)
    }

    async fn write(&mut self, data: &[u8]) -> Result<()> {
        let file_id = self.files.take(data)?;
        self.store(file_id, data).await?;
        self.files.done();
        Ok(())
    }

    async fn finish_file(&mut self) -> Result<StagedFile> {
        let staged = self.files.finish()?;
        let placement = match mem::take(&mut self.open) {
            Body::InMemory(data) => Placement::Memory(data),
            Body::OnDisk(writer) => {
                writer.finish(self.storage.database()).await?;
                Placement::File
            }
        };
        self.placements.push(placement);
        self.files.done();
        Ok(staged)
    }

    async fn show_life(&mut self) -> Result<()> {
        self.files.show_life()?;
        self.touch()?;
        self.files.done();
        Ok(())
    }

    async fn publish(mut self: Box<Self>) -> Result<Vec<PendingUpload>> {
        self.files.check_publishable()?;
        let database = self.storage.database().clone();
        // Waited for here, so that a caller that goes away leaves nothing in the queue.
        let place = database.writer().place(self.in_memory).await?;
        let publication = self.publication()?;
        let published = match self.lease.take() {
            Some(lease) => {
                let work = publish_with_files(database.clone(), lease, publication, place);
                database.run(work).await
            }
            None => publish(&database, publication, place).await,
        };
        Ok(published?)
    }
}

impl SqliteBatch {
    pub(crate) fn new(storage: SqliteStorage, workspace: WorkspaceId) -> Self {
        Self {
            storage,
            files: BatchFiles::new(workspace),
            open: Body::default(),
            placements: Vec::new(),
            lease: None,
            in_memory: 0,
        }
    }

    fn touch(&self) -> Result<(), SqliteError> {
        self.lease
            .as_ref()
            .map_or(Ok(()), |lease| lease.touch(self.storage.now()))
    }

    async fn store(&mut self, file_id: FileId, data: &[u8]) -> Result<(), SqliteError> {
        self.touch()?;
        if let Body::InMemory(held) = &mut self.open {
            let room = self.in_memory + data.len() <= MEMORY_BYTES;
            if room && held.len() + data.len() <= ROW_BYTES {
                held.extend_from_slice(data);
                self.in_memory += data.len();
                return Ok(());
            }
            let held = mem::take(held);
            self.in_memory -= held.len();
            self.open = Body::OnDisk(self.move_to_disk(file_id, &held).await?);
        }
        match &mut self.open {
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
            .get_or_insert_with(|| database.staged().enter(self.files.workspace(), now));
        lease.add(file_id)?;
        let mut writer = FileWriter::create(database, file_id, lease.watch()).await?;
        writer.write(database, held).await?;
        Ok(writer)
    }

    fn publication(&mut self) -> Result<Publication> {
        let (created_at, config) = (self.storage.now(), self.storage.config());
        let uploads = self.files.records(created_at, config.ttl)?;
        let placements = mem::take(&mut self.placements);
        Ok(Publication {
            workspace: self.files.workspace(),
            created_at,
            quota: config.quota,
            files: uploads.into_iter().zip(placements).collect(),
        })
    }
}

/// As [`publish`]; runs to its end whoever goes away, so that the files on the disk are kept when
/// their rows were committed, and deleted when they were not.
async fn publish_with_files(
    database: Database,
    lease: Lease,
    publication: Publication,
    place: Place,
) -> Result<Vec<PendingUpload>, SqliteError> {
    let publishing = publish(&database, publication, place);
    lease.settle(&database, publishing).await
}

/// Writes all rows. A dropped future leaves all of them written, or none.
async fn publish(
    database: &Database,
    publication: Publication,
    place: Place,
) -> Result<Vec<PendingUpload>, SqliteError> {
    let workspace = publication.workspace;
    let work = move |writing: &Writing<'_>| publication.write(writing);
    database.write_to_feed(place, workspace, work).await
}
