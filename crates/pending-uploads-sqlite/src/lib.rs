//! The traits of [`pending_uploads_core`] on SQLite, embedded: the default when no database is
//! named, and what a single small machine runs in production.
//!
//! What lies where in the data folder, for operators:
//!
//! - `pending-uploads.sqlite3` (with `-wal` and `-shm` beside it while it is open): workspaces,
//!   feeds, a row for each waiting file, and the bytes of small files.
//! - `files/<file id>`: the bytes of each larger file. One without a row belongs to an upload that
//!   is still arriving; those that a crash left are deleted when the folder is next opened.
//! - `lock`: held by the one process that has the folder open.
//!
//! The folder is made with mode 0700: everything in it is as private as the files that people sent.
//!
//! One thread writes, and commits everything that arrived meanwhile together, so that many small
//! publishes share one sync; readers have connections of their own and never wait for it. Larger
//! files are synced before the row that publishes them is committed, so that a row never names
//! bytes that a crash could take.

mod activity;
mod appended;
mod archive;
mod batch;
mod bundle;
mod checkpoints;
mod database;
mod doubt;
mod error;
mod feed_rows;
mod fetch_notes;
mod file_writers;
mod files;
mod folder;
mod inspect;
mod log_length;
#[cfg(test)]
mod plans;
mod publish;
mod readers;
mod restoration;
mod rows;
mod schema;
mod staged;
mod stats;
mod storage;
mod sweep;
#[cfg(test)]
mod testing;
mod workspaces;
mod writer;

pub use activity::SqliteActivityLog;
pub use archive::{ArchiveError, SqliteArchive};
pub use database::Database;
pub use error::OpenError;
pub use inspect::{FolderUse, Inspection, inspect};
pub use pending_uploads_core::StorageConfig;
pub use restoration::SqliteRestoration;
pub use storage::SqliteStorage;
pub use workspaces::SqliteWorkspaces;
