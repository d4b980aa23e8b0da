//! An open directory: everything in it is reached through it, by name, and no link is followed.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use pending_uploads_core::Sha256Hasher;
use rustix::fs::{Access, AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::WaitingFile;

/// How much of a file is read at once.
const READ_BYTES: usize = 128 * 1024;
/// For the owner's eyes alone.
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);
/// What every file is opened with. A name that became a FIFO in between must not block.
const CAREFULLY: OFlags = OFlags::NOFOLLOW
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// What a file is opened for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rights {
    Read,
    /// To read, too.
    Write,
}

/// Whether a new name was free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Renamed {
    Yes,
    /// Something has that name. Nothing was done.
    Taken,
}

#[derive(Debug)]
pub(super) struct Directory(File);

impl Directory {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self(directory.into()))
    }

    /// Fails when files cannot be made here.
    pub(super) fn check_access(&self) -> io::Result<()> {
        let needed = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
        Ok(rustix::fs::accessat(
            &self.0,
            ".",
            needed,
            AtFlags::empty(),
        )?)
    }

    pub(super) fn free_bytes(&self) -> io::Result<u64> {
        let disk = rustix::fs::fstatvfs(&self.0)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// The names in it, in no order.
    pub(super) fn names(&self) -> io::Result<impl Iterator<Item = io::Result<CString>> + use<>> {
        let entries = Dir::read_from(&self.0)?;
        Ok(entries.map(|entry| Ok(entry?.file_name().to_owned())))
    }

    /// Makes a file, for its owner alone whatever the umask; fails if the name is taken by anything.
    pub(super) fn create(&self, name: &str) -> io::Result<File> {
        let flags = CAREFULLY | OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let file = rustix::fs::openat(&self.0, name, flags, PRIVATE)?;
        rustix::fs::fchmod(&file, PRIVATE)?;
        Ok(file.into())
    }

    /// Opens a regular file; none if there is nothing, something else, or something locked away.
    pub(super) fn open_file(&self, name: &str, rights: Rights) -> io::Result<Option<File>> {
        // A device is not even opened.
        if !self.is_file(name)? {
            return Ok(None);
        }
        let flags = match rights {
            Rights::Read => OFlags::RDONLY,
            Rights::Write => OFlags::RDWR,
        };
        match rustix::fs::openat(&self.0, name, CAREFULLY | flags, Mode::empty()) {
            Ok(file) if is_regular(&rustix::fs::fstat(&file)?) => Ok(Some(file.into())),
            // It became something else in between, or may not be opened. What is said of a link
            // differs between systems.
            Ok(_)
            | Err(
                Errno::NOENT
                | Errno::LOOP
                | Errno::MLINK
                | Errno::NXIO
                | Errno::ISDIR
                | Errno::ACCESS
                | Errno::PERM,
            ) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the name is that of a regular file, and no link to one.
    pub(super) fn is_file(&self, name: &str) -> io::Result<bool> {
        Ok(self.stat(name)?.as_ref().is_some_and(is_regular))
    }

    /// How long the regular file of that name is; none if there is nothing, or something else.
    pub(super) fn len_of_file(&self, name: &str) -> io::Result<Option<u64>> {
        let file = self.stat(name)?.filter(is_regular);
        Ok(file.and_then(|file| u64::try_from(file.st_size).ok()))
    }

    /// Whether anything has the name.
    pub(super) fn has(&self, name: &str) -> io::Result<bool> {
        Ok(self.stat(name)?.is_some())
    }

    /// Whether the name is that of `file`, which is open: it may have been renamed or removed.
    pub(super) fn names_file(&self, name: &str, file: &File) -> io::Result<bool> {
        let open = rustix::fs::fstat(file)?;
        let same = |named: &Stat| named.st_dev == open.st_dev && named.st_ino == open.st_ino;
        Ok(self.stat(name)?.as_ref().is_some_and(same))
    }

    /// Whether the name holds exactly the bytes of `file`. If so they are synced.
    pub(super) fn holds(&self, name: &str, file: &WaitingFile) -> io::Result<bool> {
        let Some(found) = self.open_file(name, Rights::Read)? else {
            return Ok(false);
        };
        if found.metadata()?.len() != file.size_bytes.get() {
            return Ok(false);
        }
        let (hasher, len) = hash(&found)?;
        let is_whole = len == file.size_bytes.get() && hasher.finish() == file.sha256;
        if is_whole {
            found.sync_all()?;
        }
        Ok(is_whole)
    }

    /// Removes a name; what a link leads to stays.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.0, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives a file another name, if that is free.
    ///
    /// Where the file system does not know how to do that in one step, the file gets the second name
    /// first and loses the first one then; a crash in between leaves it with both.
    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<Renamed> {
        let renamed = match rename_to_free(&self.0, from, to) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => self.link(from, to),
            renamed => renamed,
        };
        match renamed {
            Ok(()) => Ok(Renamed::Yes),
            Err(Errno::EXIST) => Ok(Renamed::Taken),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives a file a second name and takes the first one away.
    pub(super) fn link(&self, from: &str, to: &str) -> rustix::io::Result<()> {
        rustix::fs::linkat(&self.0, from, &self.0, to, AtFlags::empty())?;
        match rustix::fs::unlinkat(&self.0, from, AtFlags::empty()) {
            // Another inbox has found a partial with two names, and removed one.
            Err(Errno::NOENT) => Ok(()),
            unlinked => unlinked,
        }
    }

    /// Makes its names durable. A file system that cannot be asked to says so with `EINVAL`.
    pub(super) fn sync(&self) -> io::Result<()> {
        match self.0.sync_all() {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            synced => synced,
        }
    }

    fn stat(&self, name: &str) -> io::Result<Option<Stat>> {
        match rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn rename_to_free(directory: &File, from: &str, to: &str) -> rustix::io::Result<()> {
    use rustix::fs::{RenameFlags, renameat_with};
    renameat_with(directory, from, directory, to, RenameFlags::NOREPLACE)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn rename_to_free(_: &File, _: &str, _: &str) -> rustix::io::Result<()> {
    Err(Errno::NOSYS)
}

fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// Whether the file has one name.
pub(super) fn has_one_name(file: &File) -> io::Result<bool> {
    Ok(rustix::fs::fstat(file)?.st_nlink == 1)
}

/// Reads a file from where it stands to its end: the hasher of what was read, and how much it was.
pub(super) fn hash(mut file: &File) -> io::Result<(Sha256Hasher, u64)> {
    let mut buffer = vec![0; READ_BYTES];
    let mut hasher = Sha256Hasher::new();
    let mut len = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((hasher, len)),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                len += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
