//! The folder that files arrive in: each is there whole under its final name, or not at all.
//!
//! A file grows as a *partial*, `.<32 hex of its id>.<32 hex of its workspace's>.part`, in the same
//! folder, and is *placed* under `<32 hex of its id>-<safe name>` when it is whole, checked and synced.
//! Both names are functions of the file, so that fetching it again cannot make a second copy; and any
//! number of inboxes may share a folder. Nothing is ever overwritten, and no link is followed.

mod directory;
mod names;
mod owner;
mod partial;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use log::trace;
use pending_uploads_core::{FileId, WorkspaceId};

use self::directory::{Directory, Rights};
use self::owner::Owner;
pub(crate) use self::partial::{Partial, PartialError};
use crate::WaitingFile;
use crate::lock::try_lock;

/// The folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    /// Its absolute path cannot stand in a message.
    #[error("the path of the folder {} is not UTF-8", path.display())]
    NotUtf8 { path: PathBuf },
    /// It cannot be made, read or written.
    #[error("cannot use the folder {}: {source}", path.display())]
    Unusable { path: PathBuf, source: io::Error },
}

/// The folder that files arrive in. Clones are the same folder.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    path: Arc<Path>,
    owner: Owner,
}

impl Folder {
    /// Makes the folder, for its owner alone, if it is missing, and its parents.
    ///
    /// # Errors
    /// [`FolderError`] when it cannot be made, is no directory, cannot be written, or has a path that
    /// is not UTF-8.
    pub(crate) fn open(path: &Path) -> Result<Self, FolderError> {
        let unusable = |source| FolderError::Unusable {
            path: path.to_owned(),
            source,
        };
        make_private(path).map_err(unusable)?;
        let absolute = path.canonicalize().map_err(unusable)?;
        if absolute.to_str().is_none() {
            return Err(FolderError::NotUtf8 { path: absolute });
        }
        Directory::open(&absolute)
            .and_then(|directory| directory.check_access())
            .map_err(unusable)?;
        Ok(Self {
            path: absolute.into(),
            owner: Owner::new(),
        })
    }

    /// Where it is: absolute, without links, and UTF-8.
    #[cfg(test)]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes an unprivileged user may still write to its disk.
    pub(crate) fn free_bytes(&self) -> io::Result<u64> {
        self.directory()?.free_bytes()
    }

    /// The path of `file` if it lies here whole, which is found out by reading it. What is answered is
    /// durable: a process may have been killed between the file's last step and its sync.
    pub(crate) fn find(&self, file: &WaitingFile) -> io::Result<Option<PathBuf>> {
        let Some(directory) = self.directory_if_there()? else {
            return Ok(None);
        };
        for name in names::finals(file) {
            if directory.holds(&name, file)? {
                directory.sync()?;
                log_step(Step::FolderSynced, file.file_id);
                return Ok(Some(self.path.join(name)));
            }
        }
        Ok(None)
    }

    /// The path of the file with this id under whatever final name, which is to say that it was whole
    /// when it was placed. Where there are several, the one that was placed last.
    pub(crate) fn find_by_id(&self, file_id: FileId) -> io::Result<Option<PathBuf>> {
        let Some(directory) = self.directory_if_there()? else {
            return Ok(None);
        };
        let prefix = names::final_prefix(file_id);
        let mut last: Option<String> = None;
        for name in directory.names()? {
            let name = name?;
            let Some(name) = name.to_str().ok().filter(|name| name.starts_with(&prefix)) else {
                continue;
            };
            let is_later = |last: &String| names::order(last) < names::order(name);
            if last.as_ref().is_none_or(is_later) && directory.is_file(name)? {
                last = Some(name.to_owned());
            }
        }
        Ok(last.map(|name| self.path.join(name)))
    }

    /// The path here of `file`, which was placed under that name in another folder, if this one has a
    /// file of that name and of its length.
    pub(crate) fn find_by_name(
        &self,
        name: &OsStr,
        file: &WaitingFile,
    ) -> io::Result<Option<PathBuf>> {
        let (Some(directory), Some(name)) = (self.directory_if_there()?, name.to_str()) else {
            return Ok(None);
        };
        let len = directory.len_of_file(name)?;
        Ok((len == Some(file.size_bytes.get())).then(|| self.path.join(name)))
    }

    /// Opens the file's partial, or makes it, and keeps everybody else from it. What it holds already
    /// is read and hashed. A folder that was removed is made again.
    ///
    /// # Errors
    /// [`PartialError::Busy`] when another process or task has it open; [`PartialError::DiskFull`] and
    /// [`PartialError::Io`].
    pub(crate) fn partial(&self, file: &WaitingFile) -> Result<Partial, PartialError> {
        let directory = if let Some(directory) = self.directory_if_there()? {
            directory
        } else {
            make_private(&self.path)?;
            self.directory()?
        };
        Partial::open(&self.path, directory, &self.owner, file)
    }

    /// Removes each partial of a file of `workspace_id` that nobody has open, but those of the files in
    /// `keep`. Removing one that another inbox goes on with later costs that one a new start, and
    /// nothing else.
    pub(crate) fn discard_partials(
        &self,
        workspace_id: WorkspaceId,
        keep: &HashSet<FileId>,
    ) -> io::Result<()> {
        let Some(directory) = self.directory_if_there()? else {
            return Ok(());
        };
        for name in directory.names()? {
            let name = name?;
            let Ok(name) = name.to_str() else {
                continue;
            };
            let partial = names::partial_of(workspace_id, name);
            if partial.is_some_and(|file_id| !keep.contains(&file_id)) {
                self.discard(&directory, workspace_id, name)?;
            }
        }
        Ok(())
    }

    /// Removes the partial of a file, if there is one and nobody has it open.
    pub(crate) fn discard_partial(
        &self,
        workspace_id: WorkspaceId,
        file_id: FileId,
    ) -> io::Result<()> {
        let name = names::partial(workspace_id, file_id);
        match self.directory_if_there()? {
            Some(directory) => self.discard(&directory, workspace_id, &name),
            None => Ok(()),
        }
    }

    /// Removes a partial, unless somebody has it locked or it is none of ours.
    fn discard(
        &self,
        directory: &Directory,
        workspace_id: WorkspaceId,
        name: &str,
    ) -> io::Result<()> {
        let Some(file) = directory.open_file(name, Rights::Write)? else {
            return Ok(());
        };
        let is_ours = self.owner.has(directory, workspace_id, &file)?;
        if is_ours && try_lock(&file)? && directory.names_file(name, &file)? {
            directory.remove(name)?;
        }
        Ok(())
    }

    /// Opened anew for each piece of work, so that a folder that was removed and made again is used.
    fn directory(&self) -> io::Result<Directory> {
        Directory::open(&self.path)
    }

    /// None when somebody has removed it: then nothing is in it.
    fn directory_if_there(&self) -> io::Result<Option<Directory>> {
        match self.directory() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            directory => directory.map(Some),
        }
    }
}

/// Makes a directory that only its owner may look into, and its parents, durably: what is synced in it
/// is not lost with its name. One that is there stays as it is.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    make_private(parent)?;
    match DirBuilder::new().mode(0o700).create(path) {
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        made => made?,
    }
    match Directory::open(parent) {
        // A directory that we may write to and not read cannot be synced.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        parent => parent?.sync(),
    }
}

/// Whether the disk, the user's share of it, or the longest file that it can hold is used up.
pub(crate) fn is_disk_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// A step on a file's way into the folder.
#[derive(Debug, Clone, Copy)]
enum Step {
    PartialMade,
    PartialGrown,
    Synced,
    Placed,
    FolderSynced,
}

/// Logs that a step is done, on the thread that did it and before that thread does anything else.
///
/// Tests rely on it: a logger that ends the process at a record leaves the disk exactly as it is
/// between this step and the next one.
fn log_step(step: Step, file_id: FileId) {
    let step = match step {
        Step::PartialMade => "partial_made",
        Step::PartialGrown => "partial_grown",
        Step::Synced => "synced",
        Step::Placed => "placed",
        Step::FolderSynced => "folder_synced",
    };
    trace!(step = step, file_id:% = file_id; "a step of a file's way into the folder is done");
}
