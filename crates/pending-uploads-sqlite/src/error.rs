//! What can go wrong between us, SQLite and the disk, precisely; and what callers are told of it.

use std::io;
use std::path::PathBuf;

use pending_uploads_core::{Error, QuotaRefusal, StoreName};
use rusqlite::ErrorCode;

/// The name of this store in errors and logs.
pub(crate) const SQLITE: StoreName = StoreName("sqlite");

/// The data folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The folder cannot be made, read or written.
    #[error("cannot use the data folder {}: {source}", path.display())]
    Folder {
        /// The folder, or what in it could not be used.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("the data folder {} is in use by another process", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A newer program has written it.
    #[error(
        "the data folder {} was written by a newer version: its schema is {found}, and this program \
         knows {known} at most",
        path.display()
    )]
    Newer {
        /// The folder.
        path: PathBuf,
        /// The version of its schema.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// The database in it cannot be opened or brought up to date.
    #[error("cannot open the database in {}: {reason}", path.display())]
    Database {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// Every way in which an operation on the folder can fail.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SqliteError {
    /// A statement failed.
    #[error("a statement failed: {0}")]
    Statement(#[from] rusqlite::Error),
    /// Everything that was written together was undone: nothing of it is there.
    #[error("a transaction was undone: {0}")]
    Undone(String, Option<ErrorCode>),
    /// Everything that was written together could not be committed. A crash may yet bring it back.
    #[error("a commit failed: {0}")]
    Commit(String, Option<ErrorCode>),
    /// A file beside the database could not be written or read.
    #[error("a file failed: {0}")]
    File(#[from] io::Error),
    /// No further connection to read with could be opened: the process has too many files open, for
    /// one.
    #[error("cannot open a connection to read with: {0}")]
    NoReader(rusqlite::Error),
    /// The thread or the runtime that does the work is gone.
    #[error("the database was closed")]
    Closed,
    /// A stored value is not what was once written.
    #[error("damaged data: {0}")]
    Damaged(&'static str),
    /// There is no such file for this workspace.
    #[error("no such file")]
    NotFound,
    /// The range ends after the file.
    #[error("the range ends after the file's {size_bytes} bytes")]
    RangeNotSatisfiable { size_bytes: u64 },
    /// There is no such workspace.
    #[error("no such workspace")]
    UnknownWorkspace,
    /// The id is somebody's already.
    #[error("not authorized")]
    Unauthorized,
    /// The cursor names no row of this feed.
    #[error("the cursor is not in the feed")]
    CursorGone,
    /// The publish would pass the workspace's quota.
    #[error("quota exceeded: {0}")]
    QuotaExceeded(QuotaRefusal),
    /// The batch's lease was over, and its bytes were swept.
    #[error("the batch was abandoned")]
    BatchAbandoned,
    /// An error of the core's own.
    #[error(transparent)]
    Core(#[from] Box<Error>),
}

impl SqliteError {
    /// A full disk may be cleared, and a lock may be let go. Of a commit that failed nobody knows
    /// whether it will be found again after a crash.
    fn is_unavailable(&self) -> bool {
        match self {
            Self::Statement(error) => error.sqlite_error_code().is_some_and(may_pass),
            Self::Undone(_, code) => code.is_some_and(may_pass),
            Self::File(error) => {
                matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
                    || matches!(
                        error.kind(),
                        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
                    )
            }
            Self::Commit(..) | Self::NoReader(_) | Self::Closed => true,
            _ => false,
        }
    }
}

/// Too many files are open, in the system or in this process.
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

fn may_pass(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked
    )
}

impl From<SqliteError> for Error {
    fn from(error: SqliteError) -> Self {
        match error {
            SqliteError::Damaged(what) => Self::Integrity { what },
            SqliteError::NotFound => Self::NotFound,
            SqliteError::RangeNotSatisfiable { size_bytes } => {
                Self::RangeNotSatisfiable { size_bytes }
            }
            SqliteError::UnknownWorkspace => Self::UnknownWorkspace,
            SqliteError::Unauthorized => Self::Unauthorized,
            SqliteError::CursorGone => Self::CursorGone,
            SqliteError::QuotaExceeded(refusal) => Self::QuotaExceeded(refusal),
            SqliteError::BatchAbandoned => Self::BatchAbandoned,
            SqliteError::Core(error) => *error,
            error if error.is_unavailable() => Self::Unavailable {
                store: SQLITE,
                source: Box::new(error),
            },
            error => Self::Backend {
                store: SQLITE,
                source: Box::new(error),
            },
        }
    }
}
