//! The data folder: its layout, its lock, and what a crash may have left in it.

use std::fs::{self, DirBuilder, DirEntry, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use pending_uploads_core::FileId;
use tokio::sync::watch;

use crate::error::OpenError;

const DATABASE: &str = "pending-uploads.sqlite3";
const FILES: &str = "files";
const LOCK: &str = "lock";
/// How often the lock is tried for, and how long in between.
const LOCK_TRIES: u32 = 20;
const BETWEEN_LOCK_TRIES: Duration = Duration::from_millis(5);

/// How much of the disk is left to acks and sweeps, in bytes: what gives room back needs a little
/// of it first, and on a disk that uploads had filled to the brim nothing could be given back.
const RESERVE_BYTES: u64 = 64 * 1024 * 1024;

/// Where a data folder's database is.
pub(crate) fn database_in(folder: &Path) -> PathBuf {
    folder.join(DATABASE)
}

/// Where a data folder's lock is.
pub(crate) fn lock_in(folder: &Path) -> PathBuf {
    folder.join(LOCK)
}

/// A data folder that this process has to itself, until this is dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    reserve_bytes: AtomicU64,
    /// Keeps the lock: the system lets it go when the process ends, however it ends.
    _lock: File,
    /// Dropped when the lock has been let go.
    let_go: watch::Sender<()>,
}

impl Folder {
    /// Makes the folder if need be, takes its lock, and makes what it lacks.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let unusable = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Folder { path, source }
        };
        make_private_dir(path).map_err(unusable(path))?;
        let path = path.canonicalize().map_err(unusable(path))?;
        if path.to_str().is_none() {
            // SQLite does not tell where such a database is, and its log could not be looked after.
            let not_text = io::Error::new(io::ErrorKind::InvalidInput, "the path is not UTF-8");
            return Err(unusable(&path)(not_text));
        }
        let lock = lock(&path)?;
        let files = path.join(FILES);
        make_private_dir(&files).map_err(unusable(&files))?;
        // SQLite would make it readable for everybody; its log takes after it.
        let database = database_in(&path);
        open_private(&database).map_err(unusable(&database))?;
        let reserve_bytes = AtomicU64::new(RESERVE_BYTES);
        Ok(Self {
            path,
            reserve_bytes,
            _lock: lock,
            let_go: watch::Sender::new(()),
        })
    }

    /// Ends when this is dropped, and the lock has been let go.
    pub(crate) fn let_go(&self) -> watch::Receiver<()> {
        self.let_go.subscribe()
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The database in it.
    pub(crate) fn database(&self) -> PathBuf {
        database_in(&self.path)
    }

    /// Opens a file of bytes to read it; none when it is gone.
    pub(crate) fn open_file(&self, file: FileId) -> io::Result<Option<File>> {
        match File::open(self.file(file)) {
            Ok(open) => Ok(Some(open)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Where the bytes of a larger file lie, or those of a bundle.
    pub(crate) fn file(&self, file: FileId) -> PathBuf {
        self.path.join(FILES).join(file.to_string())
    }

    /// Makes a file of bytes, which nobody else has, for its owner's eyes only.
    pub(crate) fn create(&self, file: FileId) -> io::Result<File> {
        private().create_new(true).open(self.file(file))
    }

    /// Gives the room of a stretch of a file back to the disk, where the file system can do that;
    /// nobody may read there any more.
    #[cfg(target_os = "linux")]
    pub(crate) fn give_back(&self, file: FileId, offset: u64, bytes: u64) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};
        use rustix::io::Errno;
        let open = OpenOptions::new().write(true).open(self.file(file))?;
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match fallocate(&open, hole, offset, bytes) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            given_back => Ok(given_back?),
        }
    }

    /// There is no way to give a part of a file back here that we know.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn give_back(&self, _: FileId, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    /// Refuses when no more than the reserve is left on the disk; for whatever only takes room.
    pub(crate) fn check_room(&self) -> io::Result<()> {
        let disk = rustix::fs::statvfs(&self.path)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < self.reserve_bytes.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// Makes the disk seem full or not, whatever it is.
    #[cfg(test)]
    pub(crate) fn reserve(&self, bytes: u64) {
        self.reserve_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Makes the names of new files as durable as their bytes.
    pub(crate) fn sync_names(&self) -> io::Result<()> {
        File::open(self.path.join(FILES))?.sync_all()
    }

    /// Deletes each file of bytes that `is_kept` does not vouch for; what does not look like one of
    /// ours is left alone. Answers how many were deleted.
    pub(crate) fn delete_orphans<E: From<io::Error>>(
        &self,
        mut is_kept: impl FnMut(FileId) -> Result<bool, E>,
    ) -> Result<u64, E> {
        let mut deleted = 0;
        for entry in fs::read_dir(self.path.join(FILES))? {
            let Some(file) = file_of_ours(&entry?) else {
                continue;
            };
            if !is_kept(file)? {
                fs::remove_file(self.file(file))?;
                deleted += 1;
            }
        }
        Ok(deleted)
    }
}

/// A regular file whose name is an id exactly as [`Folder::file`] writes it.
fn file_of_ours(entry: &DirEntry) -> Option<FileId> {
    let name = entry.file_name();
    let id: FileId = name.to_str()?.parse().ok()?;
    let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
    (is_file && id.to_string().as_str() == name).then_some(id)
}

/// Somebody who only looks whether the lock is held has it for a moment, and so has a child that was
/// just forked off: whoever holds it longer uses the folder.
fn lock(folder: &Path) -> Result<File, OpenError> {
    let path = lock_in(folder);
    let unusable = |source| OpenError::Folder {
        path: path.clone(),
        source,
    };
    let lock = open_private(&path).map_err(unusable)?;
    for _ in 0..LOCK_TRIES {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) => thread::sleep(BETWEEN_LOCK_TRIES),
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
    }
    Err(OpenError::InUse {
        path: folder.to_owned(),
    })
}

/// Opens a file as it is; makes it, for its owner's eyes only, if it is not there.
fn open_private(path: &Path) -> io::Result<File> {
    private().create(true).truncate(false).open(path)
}

/// Writes to files that are for their owner's eyes only when they are made.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn make_private_dir(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}
