//! Which files in the folder are ours: those that belong to whom new ones belong.
//!
//! That is the user that this process runs as, but not on every file system: one that is mounted from
//! elsewhere may give new files to somebody else.

use std::fs::File;
use std::io;
use std::sync::{Arc, OnceLock};

use pending_uploads_core::{FileId, WorkspaceId};

use super::directory::Directory;
use super::names;

/// To whom new files in a folder belong. Clones know the same.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    /// The user that this process runs as.
    user: u32,
    /// The owner of a file that was made to find out.
    of_new: Arc<OnceLock<u32>>,
}

impl Owner {
    /// That of this process's files, as far as it is known without a look at the folder.
    pub(super) fn new() -> Self {
        Self::of(rustix::process::geteuid().as_raw())
    }

    /// The same of a process that runs as `user`.
    pub(super) fn of(user: u32) -> Self {
        Self {
            user,
            of_new: Arc::default(),
        }
    }

    /// As if a new file had belonged to `of_new`.
    #[cfg(test)]
    pub(super) fn knows(&self, of_new: u32) {
        self.of_new.set(of_new).unwrap();
    }

    /// Whether `file`, which lies in `directory`, is ours. When it is another user's, a file is made
    /// and removed, once, to find out whose new ones are: a partial of a file of `workspace_id` that
    /// nobody waits for, so that one that a crash leaves goes with the others.
    pub(super) fn has(
        &self,
        directory: &Directory,
        workspace_id: WorkspaceId,
        file: &File,
    ) -> io::Result<bool> {
        let owner = owner_of(file)?;
        if owner == self.user {
            return Ok(true);
        }
        if let Some(of_new) = self.of_new.get() {
            return Ok(owner == *of_new);
        }
        let name = names::partial(workspace_id, FileId::generate());
        let new = directory.create(&name)?;
        let of_new = owner_of(&new);
        directory.remove(&name)?;
        let of_new = of_new?;
        Ok(owner == *self.of_new.get_or_init(|| of_new))
    }
}

fn owner_of(file: &File) -> io::Result<u32> {
    Ok(rustix::fs::fstat(file)?.st_uid)
}
