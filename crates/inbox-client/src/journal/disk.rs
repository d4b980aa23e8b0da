//! The files of a journal: where they are, and how they get there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use pending_uploads_core::WorkspaceId;

use super::JournalError;
use crate::lock::try_lock;

const NEW_JOURNAL: &str = "journal.new";
const JOURNAL: &str = "journal";
const LOCK: &str = "lock";
/// For the owner's eyes alone.
const PRIVATE: u32 = 0o600;

/// The folder of a workspace's journal.
pub(super) fn folder_in(state_folder: &Path, workspace: WorkspaceId) -> PathBuf {
    state_folder.join(workspace.to_string())
}

/// The journal in such a folder.
pub(super) fn journal_in(folder: &Path) -> PathBuf {
    folder.join(JOURNAL)
}

/// Keeps every other process from the folder, until what it answers is dropped or the process ends.
pub(super) fn lock(folder: &Path) -> Result<File, JournalError> {
    let path = folder.join(LOCK);
    let mut options = OpenOptions::new();
    options
        .create(true)
        .truncate(false)
        .write(true)
        .mode(PRIVATE);
    let lock = options.open(&path).map_err(JournalError::unusable(&path))?;
    match try_lock(&lock) {
        Ok(true) => Ok(lock),
        Ok(false) => Err(JournalError::InUse {
            path: folder.to_owned(),
        }),
        Err(source) => Err(JournalError::unusable(&path)(source)),
    }
}

/// The bytes of a file, if there is one.
pub(super) fn read_whole(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens the journal, and cuts off what is not sound.
pub(super) fn open_sound(path: &Path, len: u64) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    if file.metadata()?.len() > len {
        file.set_len(len)?;
        file.sync_all()?;
    }
    Ok(file)
}

/// Writes what will be the journal beside it, and syncs it.
pub(super) fn write_beside(folder: &Path, bytes: &[u8]) -> io::Result<File> {
    let path = folder.join(NEW_JOURNAL);
    remove(&path)?;
    let mut options = OpenOptions::new();
    options
        .create_new(true)
        .read(true)
        .write(true)
        .mode(PRIVATE);
    let mut file = options.open(&path)?;
    if let Err(error) = file.write_all(bytes).and_then(|()| file.sync_all()) {
        // What is left of it is removed before the next one.
        drop(remove(&path));
        return Err(error);
    }
    Ok(file)
}

/// Puts what was written beside the journal in its place. That is not durable before the folder is
/// synced.
pub(super) fn put_in_place(folder: &Path) -> io::Result<()> {
    fs::rename(folder.join(NEW_JOURNAL), folder.join(JOURNAL))
}

/// Makes the names in a folder durable. A file system that cannot be asked to says so with `EINVAL`.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
