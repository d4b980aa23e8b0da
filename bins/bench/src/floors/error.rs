//! Why a floor could not be measured.

use std::io;

/// A floor that could not be measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FloorError {
    /// The bare loop's own statement, or its connection, failed.
    #[error("PostgreSQL refused a statement of a bare loop")]
    Postgres(#[from] tokio_postgres::Error),
    /// The URL of the database is none.
    #[error("the database's URL is none")]
    Url(#[from] pending_uploads_pg::ConfigError),
    /// The schema could not be brought up to date.
    #[error("the schema is not there and cannot be made")]
    Schema(#[from] pending_uploads_pg::migrate::MigrateError),
    /// The pool of the plain baseline could not be set up.
    #[error("the plain baseline's pool cannot be made")]
    Pool(#[from] deadpool_postgres::BuildError),
    /// The bare loop's own statement failed.
    #[error("SQLite refused a statement of a bare loop")]
    Sqlite(#[from] rusqlite::Error),
    /// The data folder could not be made.
    #[error("the data folder cannot be made")]
    Folder(#[from] pending_uploads_sqlite::OpenError),
    /// The writing thread of a bare loop is gone.
    #[error("the thread that writes to SQLite is gone")]
    WriterGone,
    /// A group of transactions that this one was in was not committed.
    #[error("SQLite did not commit a group: {0}")]
    Group(String),
    /// A file could not be written or read.
    #[error("a file or a socket of a bare loop failed")]
    Io(#[from] io::Error),
    /// `dd` failed.
    #[error("dd ended with {status}: {said}")]
    Dd {
        status: std::process::ExitStatus,
        said: String,
    },
    /// The system has no random bytes.
    #[error("the system has no random bytes")]
    Random(#[from] getrandom::Error),
    /// A number does not fit where the database keeps it.
    #[error("a size is too large for the database")]
    TooLarge(#[from] std::num::TryFromIntError),
    /// A feed, a file or a batch is not there although it was made.
    #[error("{0} is not there")]
    Missing(&'static str),
    /// A floor's server did not say where it listens.
    #[error("a floor's server did not come up; its first line was {0:?}")]
    NoAddress(String),
}
