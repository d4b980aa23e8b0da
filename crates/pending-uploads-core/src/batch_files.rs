//! The files of one batch, and the order of its calls: what the backends' batches have in common.

use std::time::Duration;

use crate::{
    BatchMisuse, Error, FileId, Filename, Mimetype, PendingUpload, Result, Sha256Hasher,
    StagedFile, Timestamp, WorkspaceId,
};

/// What is known of a batch's files while their bytes arrive: their names, lengths and digests,
/// which of them is open, and whether the batch is broken. Where the bytes go is the backend's.
///
/// [`take`](Self::take), [`show_life`](Self::show_life) and [`finish`](Self::finish) leave a call
/// under way, which the backend ends by [`done`](Self::done) when its own part has succeeded. When it
/// never does, because its part failed or the future was dropped, the batch is broken from then on.
#[derive(Debug)]
pub struct BatchFiles {
    workspace: WorkspaceId,
    health: Health,
    finished: Vec<FinishedFile>,
    open: Option<OpenFile>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Sound,
    /// A call is under way, or was when its future was dropped.
    Busy,
    Broken,
}

#[derive(Debug)]
struct OpenFile {
    file_id: FileId,
    filename: Filename,
    mimetype: Mimetype,
    size_bytes: u64,
    hasher: Sha256Hasher,
}

#[derive(Debug)]
struct FinishedFile {
    filename: Filename,
    mimetype: Mimetype,
    staged: StagedFile,
}

impl BatchFiles {
    /// No files yet, for `workspace`.
    pub fn new(workspace: WorkspaceId) -> Self {
        Self {
            workspace,
            health: Health::Sound,
            finished: Vec::new(),
            open: None,
        }
    }

    /// The workspace that the files are for.
    pub fn workspace(&self) -> WorkspaceId {
        self.workspace
    }

    /// The ids of all files in the order in which they were started, the open one included.
    pub fn ids(&self) -> impl Iterator<Item = FileId> {
        let finished = self.finished.iter().map(|file| file.staged.file_id);
        finished.chain(self.open.iter().map(|file| file.file_id))
    }

    /// Opens the next file, and answers its id.
    ///
    /// # Errors
    /// [`BatchMisused`](Error::BatchMisused) while a file is open, or when the batch is broken.
    pub fn start(&mut self, filename: Filename, mimetype: Mimetype) -> Result<FileId> {
        self.begin()?;
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
        });
        self.done();
        Ok(file_id)
    }

    /// Counts and digests the next bytes of the open file, and answers its id; the call is under
    /// way from then on.
    ///
    /// # Errors
    /// [`BatchMisused`](Error::BatchMisused) without an open file, or when the batch is broken.
    pub fn take(&mut self, data: &[u8]) -> Result<FileId> {
        self.begin()?;
        let Some(file) = &mut self.open else {
            return Err(self.misused(BatchMisuse::NoFileOpen));
        };
        file.hasher.update(data);
        file.size_bytes += data.len() as u64;
        Ok(file.file_id)
    }

    /// Adds nothing; the call is under way from then on.
    ///
    /// # Errors
    /// [`BatchMisused`](Error::BatchMisused) when the batch is broken.
    pub fn show_life(&mut self) -> Result<()> {
        self.begin()
    }

    /// Ends the open file, and answers its length and digest; the call is under way from then on.
    ///
    /// # Errors
    /// [`BatchMisused`](Error::BatchMisused) without an open file, or when the batch is broken;
    /// [`EmptyFile`](Error::EmptyFile) when it took no byte.
    pub fn finish(&mut self) -> Result<StagedFile> {
        self.begin()?;
        let Some(file) = self.open.take() else {
            return Err(self.misused(BatchMisuse::NoFileOpen));
        };
        if file.size_bytes == 0 {
            self.health = Health::Broken;
            return Err(Error::EmptyFile {
                filename: file.filename,
            });
        }
        let staged = StagedFile {
            file_id: file.file_id,
            size_bytes: file.size_bytes,
            sha256: file.hasher.finish(),
        };
        self.finished.push(FinishedFile {
            filename: file.filename,
            mimetype: file.mimetype,
            staged,
        });
        Ok(staged)
    }

    /// Ends the call that is under way: it has succeeded. A batch that is broken stays so.
    pub fn done(&mut self) {
        if self.health == Health::Busy {
            self.health = Health::Sound;
        }
    }

    /// Whether the files can be published.
    ///
    /// # Errors
    /// [`BatchMisused`](Error::BatchMisused) while a file is open, when there is none, or when the
    /// batch is broken.
    pub fn check_publishable(&self) -> Result<()> {
        let misuse = match self.health {
            Health::Busy | Health::Broken => BatchMisuse::Broken,
            Health::Sound if self.open.is_some() => BatchMisuse::FileStillOpen,
            Health::Sound if self.finished.is_empty() => BatchMisuse::NoFiles,
            Health::Sound => return Ok(()),
        };
        Err(Error::BatchMisused(misuse))
    }

    /// The records that a publish at `created_at` makes of the files, in their order.
    ///
    /// # Errors
    /// Those of [`check_publishable`](Self::check_publishable).
    pub fn records(&self, created_at: Timestamp, ttl: Duration) -> Result<Vec<PendingUpload>> {
        self.check_publishable()?;
        let records = self.finished.iter().map(|file| PendingUpload {
            file_id: file.staged.file_id,
            workspace_id: self.workspace,
            filename: file.filename.clone(),
            mimetype: file.mimetype.clone(),
            size_bytes: file.staged.size_bytes,
            sha256: file.staged.sha256,
            created_at,
            expires_at: created_at.saturating_add(ttl),
            fetched_at: None,
            acked_at: None,
        });
        Ok(records.collect())
    }

    fn begin(&mut self) -> Result<()> {
        match self.health {
            Health::Sound => {
                self.health = Health::Busy;
                Ok(())
            }
            Health::Busy | Health::Broken => Err(self.misused(BatchMisuse::Broken)),
        }
    }

    fn misused(&mut self, misuse: BatchMisuse) -> Error {
        self.health = Health::Broken;
        Error::BatchMisused(misuse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sha256;

    const NOW: Timestamp = Timestamp::from_micros(1_000_000);

    fn one_open() -> (BatchFiles, FileId) {
        let mut files = BatchFiles::new(WorkspaceId::generate());
        let name = Filename::sanitize("mein Bericht.txt");
        let id = files.start(name, Mimetype::parse("text/plain")).unwrap();
        (files, id)
    }

    fn is_misuse<T>(answer: &Result<T>, misuse: BatchMisuse) -> bool {
        matches!(answer, Err(Error::BatchMisused(found)) if *found == misuse)
    }

    #[test]
    fn a_record_says_what_was_taken() {
        let (mut files, id) = one_open();
        for piece in [&b"hel"[..], b"", b"lo"] {
            assert_eq!(files.take(piece).unwrap(), id);
            files.done();
        }
        let staged = files.finish().unwrap();
        files.done();
        let day = Duration::from_hours(24);
        let records = files.records(NOW, day).unwrap();
        let record = records.first().unwrap();
        assert_eq!(records.len(), 1);
        assert_eq!((record.file_id, record.size_bytes), (id, 5));
        assert_eq!(record.sha256, Sha256::of(b"hello"));
        assert_eq!(record.sha256, staged.sha256);
        assert_eq!(record.workspace_id, files.workspace());
        assert_eq!(record.filename.original(), "mein Bericht.txt");
        assert_eq!(record.expires_at, NOW.saturating_add(day));
    }

    #[test]
    fn the_open_file_is_among_the_ids_and_last() {
        let (mut files, first) = one_open();
        files.take(b"x").unwrap();
        files.done();
        files.finish().unwrap();
        files.done();
        let name = Filename::sanitize("b");
        let second = files.start(name, Mimetype::absent()).unwrap();
        assert_eq!(files.ids().collect::<Vec<_>>(), [first, second]);
    }

    #[test]
    fn a_call_that_was_never_done_breaks_the_batch_for_good() {
        let (mut files, _) = one_open();
        files.take(b"x").unwrap();
        assert!(is_misuse(&files.check_publishable(), BatchMisuse::Broken));
        assert!(is_misuse(&files.take(b"y"), BatchMisuse::Broken));
        files.done();
        assert!(is_misuse(&files.finish(), BatchMisuse::Broken));
        assert!(is_misuse(
            &files.records(NOW, Duration::ZERO),
            BatchMisuse::Broken
        ));
    }

    #[test]
    fn a_refused_call_cannot_be_called_done() {
        let (mut files, _) = one_open();
        assert!(matches!(files.finish(), Err(Error::EmptyFile { .. })));
        files.done();
        assert!(is_misuse(&files.check_publishable(), BatchMisuse::Broken));
    }
}
