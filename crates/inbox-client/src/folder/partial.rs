//! A file on its way into the folder: it grows, it is checked, and it gets its name.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pending_uploads_core::Sha256Hasher;

use super::directory::{self, Directory, Renamed, Rights};
use super::owner::Owner;
use super::{Step, is_disk_full, log_step, names};
use crate::WaitingFile;
use crate::lock::try_lock;

/// How often a partial is looked for again when it changes under our hands.
const ATTEMPTS: usize = 16;

/// What can go wrong with a partial.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PartialError {
    /// Another process or task has it open. Once that is done, the file may be there.
    #[error("another inbox is writing this file")]
    Busy,
    /// More bytes came than were announced. None of those that were too many is written.
    #[error("the file is longer than was announced")]
    TooLong,
    /// Not all the bytes that were announced are there. The partial stays, to be gone on with.
    #[error("the file is shorter than was announced")]
    TooShort,
    /// All the bytes are there, and they are not the ones that were announced. The partial is removed.
    #[error("the file's digest is not the one that was announced")]
    Damaged,
    /// There is no room for it: on the disk, in the user's quota, or in a file of this file system.
    #[error("there is no room for the file: {0}")]
    DiskFull(#[source] io::Error),
    /// The system refused for another reason.
    #[error("cannot write the file: {0}")]
    Io(#[source] io::Error),
}

impl From<io::Error> for PartialError {
    fn from(error: io::Error) -> Self {
        if is_disk_full(&error) {
            Self::DiskFull(error)
        } else {
            Self::Io(error)
        }
    }
}

/// The first bytes of a file, which nobody else writes as long as this lives. Dropping it leaves them
/// to be gone on with.
#[derive(Debug)]
pub(crate) struct Partial {
    folder: Arc<Path>,
    directory: Directory,
    name: String,
    target: WaitingFile,
    file: File,
    hasher: Sha256Hasher,
    len: u64,
}

impl Partial {
    pub(super) fn open(
        folder: &Arc<Path>,
        directory: Directory,
        owner: &Owner,
        target: &WaitingFile,
    ) -> Result<Self, PartialError> {
        let name = names::partial(target.workspace_id, target.file_id);
        let file = open_locked(&directory, owner, &name, target)?;
        let (hasher, len) = directory::hash(&file)?;
        let mut partial = Self {
            folder: Arc::clone(folder),
            directory,
            name,
            target: target.clone(),
            file,
            hasher,
            len,
        };
        if partial.len > target.size_bytes.get() {
            partial.restart()?;
        }
        Ok(partial)
    }

    /// How many bytes are there.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Adds the next bytes, all of them or none.
    ///
    /// # Errors
    /// [`PartialError::TooLong`], [`PartialError::DiskFull`], [`PartialError::Io`]; what was there
    /// before is still there, and can be gone on with.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), PartialError> {
        let len = self.len.saturating_add(bytes.len() as u64);
        if len > self.target.size_bytes.get() {
            return Err(PartialError::TooLong);
        }
        if let Err(error) = self.file.write_all_at(bytes, self.len) {
            // Should this fail too, the next bytes are written over what is left.
            drop(self.file.set_len(self.len));
            return Err(error.into());
        }
        self.hasher.update(bytes);
        self.len = len;
        log_step(Step::PartialGrown, self.target.file_id);
        Ok(())
    }

    /// Goes back to nothing.
    pub(crate) fn restart(&mut self) -> Result<(), PartialError> {
        self.file.set_len(0)?;
        self.hasher = Sha256Hasher::new();
        self.len = 0;
        Ok(())
    }

    /// Checks length and digest, syncs the file, gives it its name, and syncs the folder: the file is
    /// there for good, and its path is answered.
    ///
    /// If its name is taken by the same bytes, that is the file, and the partial is removed; if by
    /// anything else, that is left alone, and the file gets the next name.
    ///
    /// # Errors
    /// [`PartialError::TooShort`] and [`PartialError::Damaged`]. [`PartialError::DiskFull`] and
    /// [`PartialError::Io`] when it cannot be synced, in which case the partial is removed, since
    /// nobody knows what of it is on the disk; or when it cannot be named, in which case it stays.
    pub(crate) fn place(self) -> Result<PathBuf, PartialError> {
        self.check()?;
        if let Err(error) = self.file.sync_all() {
            drop(self.directory.remove(&self.name));
            return Err(error.into());
        }
        log_step(Step::Synced, self.target.file_id);
        let name = self.rename()?;
        log_step(Step::Placed, self.target.file_id);
        self.directory.sync()?;
        log_step(Step::FolderSynced, self.target.file_id);
        Ok(self.folder.join(name))
    }

    fn check(&self) -> Result<(), PartialError> {
        if self.len < self.target.size_bytes.get() {
            return Err(PartialError::TooShort);
        }
        if self.hasher.clone().finish() != self.target.sha256 {
            self.directory.remove(&self.name)?;
            return Err(PartialError::Damaged);
        }
        // Somebody has moved the folder away, or the partial.
        let is_here = Directory::open(&self.folder)?.names_file(&self.name, &self.file)?;
        if !is_here || self.file.metadata()?.len() != self.len {
            return Err(PartialError::Io(io::Error::new(
                io::ErrorKind::NotFound,
                "the partial is not where it was made",
            )));
        }
        Ok(())
    }

    fn rename(&self) -> Result<String, PartialError> {
        for name in names::finals(&self.target) {
            if self.directory.rename(&self.name, &name)? == Renamed::Yes {
                return Ok(name);
            }
            if self.directory.holds(&name, &self.target)? {
                self.directory.remove(&self.name)?;
                return Ok(name);
            }
        }
        Err(PartialError::Io(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "every name for the file is taken",
        )))
    }
}

/// The partial, open, locked, and under its name: made, or found.
fn open_locked(
    directory: &Directory,
    owner: &Owner,
    name: &str,
    target: &WaitingFile,
) -> Result<File, PartialError> {
    for _ in 0..ATTEMPTS {
        let Some(file) = open_or_make(directory, owner, name, target)? else {
            continue;
        };
        if !try_lock(&file)? {
            return Err(PartialError::Busy);
        }
        // Whoever had it before may have placed or discarded it just now.
        if directory.names_file(name, &file)? && directory::has_one_name(&file)? {
            return Ok(file);
        }
    }
    Err(PartialError::Busy)
}

/// Makes the partial or opens the one that is there; none if that was none of ours and had to go.
fn open_or_make(
    directory: &Directory,
    owner: &Owner,
    name: &str,
    target: &WaitingFile,
) -> Result<Option<File>, PartialError> {
    match directory.create(name) {
        Ok(file) => {
            log_step(Step::PartialMade, target.file_id);
            return Ok(Some(file));
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.into()),
    }
    if let Some(file) = directory.open_file(name, Rights::Write)?
        && owner.has(directory, target.workspace_id, &file)?
        && directory::has_one_name(&file)?
    {
        return Ok(Some(file));
    }
    // A link goes, and what it leads to stays. So does the final name of a file that was being placed.
    // If it is gone by itself, the name may be another inbox's next partial a moment later.
    if directory.has(name)? {
        directory.remove(name)?;
    }
    Ok(None)
}
