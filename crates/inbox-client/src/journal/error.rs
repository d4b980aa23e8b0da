//! What can go wrong with a journal.

use std::io;
use std::path::{Path, PathBuf};

use crate::folder::is_disk_full;

/// The journal cannot be used, or not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    /// A folder or a file of it cannot be made, opened, read or written.
    #[error("cannot use {}: {source}", path.display())]
    Unusable { path: PathBuf, source: io::Error },
    /// Another process has it open.
    #[error(
        "{} is in use by another inbox: one workspace's state can be used by one process at a time",
        path.display()
    )]
    InUse { path: PathBuf },
    /// A line in its midst is not as it was written.
    #[error(
        "line {line} of {} is damaged. Move that file away and start again: files that still wait \
         are listed by the platform, files that have arrived are found in the folder, and the \
         messages that the platform still has are handed over again",
        path.display()
    )]
    Damaged { path: PathBuf, line: usize },
    /// A newer program has written it.
    #[error(
        "{} was written by a newer version: its format is {found}, and this program knows {known}",
        path.display()
    )]
    Newer {
        path: PathBuf,
        found: u32,
        known: u32,
    },
    /// It is where one workspace's journal belongs, and is another one's.
    #[error("{} is the journal of another workspace", path.display())]
    OtherWorkspace { path: PathBuf },
    /// There is no room for what was to be written. Nothing was.
    #[error("there is no room for the journal: {0}")]
    DiskFull(#[source] io::Error),
    /// It could not be written for another reason.
    #[error("cannot write the journal: {0}")]
    Io(#[source] io::Error),
    /// What an earlier failure left could not be taken back.
    #[error("the journal cannot be written any more after an earlier failure")]
    Broken,
}

impl JournalError {
    /// For `map_err`.
    pub(super) fn unusable(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Unusable {
            path: path.to_owned(),
            source,
        }
    }
}

/// For what was to be written.
impl From<io::Error> for JournalError {
    fn from(error: io::Error) -> Self {
        if is_disk_full(&error) {
            Self::DiskFull(error)
        } else {
            Self::Io(error)
        }
    }
}
