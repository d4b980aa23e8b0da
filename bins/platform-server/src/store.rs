//! The store: which backend keeps the files, and the traits' implementations on it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use log::warn;
use pending_uploads_core::{ActivityLog, Clock, Error, Storage, StorageConfig, Workspaces};
use pending_uploads_pg::{
    ConfigError, DatabaseConfig, PgActivityLog, PgStorage, PgWorkspaces, Schema, SchemaPart,
};
use pending_uploads_sqlite::{OpenError, SqliteActivityLog, SqliteStorage, SqliteWorkspaces};
use tokio::time::{Instant, sleep_until};
use upload_http::Readiness;

use crate::readiness::{PostgresReadiness, SqliteReadiness};

/// How long is waited between two looks at a database that does not answer.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// What a URL of the embedded backend begins with.
const SQLITE_SCHEME: &str = "sqlite://";

/// Which backend, and where it keeps its data.
#[derive(Debug, Clone)]
pub(crate) enum StoreSettings {
    /// A PostgreSQL database.
    Postgres(Box<DatabaseConfig>),
    /// A data folder of the embedded backend.
    Sqlite(PathBuf),
}

impl StoreSettings {
    /// Reads `postgres://…` or `sqlite://FOLDER`.
    pub(crate) fn parse(url: &str) -> Result<Self, ConfigError> {
        match url.strip_prefix(SQLITE_SCHEME) {
            Some(folder) if !folder.is_empty() => Ok(Self::Sqlite(folder.into())),
            _ => DatabaseConfig::parse(url).map(|config| Self::Postgres(Box::new(config))),
        }
    }

    /// Whether both say the same place. Two that do not may be the same all the same, under another
    /// name.
    pub(crate) fn is_same_place(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Postgres(one), Self::Postgres(two)) => one.to_string() == two.to_string(),
            (Self::Sqlite(one), Self::Sqlite(two)) => real(one) == real(two),
            _ => false,
        }
    }
}

/// Prints the backend and its place, without any credentials.
impl fmt::Display for StoreSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(config) => write!(f, "PostgreSQL at {config}"),
            Self::Sqlite(folder) => write!(f, "SQLite in {}", absolute(folder).display()),
        }
    }
}

/// The folder as a person would find it from anywhere; as it was given, should that fail.
fn absolute(folder: &Path) -> PathBuf {
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned())
}

/// The folder without links and detours; one that is not there as it would be found.
fn real(folder: &Path) -> PathBuf {
    folder.canonicalize().unwrap_or_else(|_| absolute(folder))
}

/// Why a store cannot be served from.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreFailure {
    /// The connections cannot be set up.
    #[error("cannot set up the database's connections")]
    Config(#[source] ConfigError),
    /// The database did not answer in time, or refused.
    #[error("cannot use {store}")]
    Database {
        /// Which.
        store: String,
        /// What went wrong.
        source: Error,
    },
    /// The database is empty.
    #[error("{store} lacks the platform's tables: run `platform-server migrate` first")]
    NoTables {
        /// Which.
        store: String,
    },
    /// The data folder cannot be opened.
    #[error(transparent)]
    Folder(OpenError),
}

/// An open store.
#[derive(Debug)]
pub(crate) enum Store {
    /// On PostgreSQL, with the tables that it has.
    Postgres(pending_uploads_pg::Database, Schema),
    /// In a data folder, which has all its tables.
    Sqlite(pending_uploads_sqlite::Database),
}

impl Store {
    /// Opens it; a database that does not answer is asked again until `patience` is over.
    pub(crate) async fn open(
        settings: &StoreSettings,
        patience: Duration,
    ) -> Result<Self, StoreFailure> {
        match settings {
            StoreSettings::Sqlite(folder) => pending_uploads_sqlite::Database::open(folder)
                .map(Self::Sqlite)
                .map_err(StoreFailure::Folder),
            StoreSettings::Postgres(config) => {
                let database =
                    pending_uploads_pg::Database::connect(config).map_err(StoreFailure::Config)?;
                let schema = find_schema(&database, settings, patience).await?;
                Ok(Self::Postgres(database, schema))
            }
        }
    }

    /// Lets it go, and waits until whoever else uses it has done so, too, and a data folder is closed.
    pub(crate) async fn close(self) {
        if let Self::Sqlite(database) = self {
            let closed = database.closed();
            drop(database);
            closed.await;
        }
    }

    /// The traits' implementations on it.
    pub(crate) fn parts(&self, config: StorageConfig, clock: Arc<dyn Clock>) -> Parts {
        match self {
            Self::Postgres(database, schema) => Parts {
                storage: (schema.uploads == SchemaPart::Ready).then(|| {
                    let storage = PgStorage::new(database, config, Arc::clone(&clock));
                    Arc::new(storage) as Arc<dyn Storage>
                }),
                activity: Arc::new(PgActivityLog::new(database, Arc::clone(&clock))),
                workspaces: Arc::new(PgWorkspaces::new(database, Arc::clone(&clock))),
                readiness: Arc::new(PostgresReadiness(database.clone())),
                clock,
            },
            Self::Sqlite(database) => Parts {
                storage: Some(Arc::new(SqliteStorage::new(
                    database,
                    config,
                    Arc::clone(&clock),
                ))),
                activity: Arc::new(SqliteActivityLog::new(database, Arc::clone(&clock))),
                workspaces: Arc::new(SqliteWorkspaces::new(database, Arc::clone(&clock))),
                readiness: Arc::new(SqliteReadiness(database.clone())),
                clock,
            },
        }
    }
}

/// The traits' implementations on one store.
pub(crate) struct Parts {
    /// The clock that all of them ask.
    pub(crate) clock: Arc<dyn Clock>,
    /// The files; none when the store lacks their tables.
    pub(crate) storage: Option<Arc<dyn Storage>>,
    /// The feeds.
    pub(crate) activity: Arc<dyn ActivityLog>,
    /// The workspaces.
    pub(crate) workspaces: Arc<dyn Workspaces>,
    /// Whether the store can be asked.
    pub(crate) readiness: Arc<dyn Readiness>,
}

/// Looks which tables there are, again and again until the database answers or its time is over.
async fn find_schema(
    database: &pending_uploads_pg::Database,
    store: &StoreSettings,
    patience: Duration,
) -> Result<Schema, StoreFailure> {
    let deadline = Instant::now() + patience;
    loop {
        match database.schema().await {
            Ok(schema) if schema.base == SchemaPart::Missing => {
                let store = store.to_string();
                return Err(StoreFailure::NoTables { store });
            }
            Ok(schema) => return Ok(schema),
            Err(source @ Error::Unavailable { .. }) if Instant::now() < deadline => {
                warn!(store:% = store, error:% = source.report(); "waiting for the database");
            }
            Err(source) => {
                let store = store.to_string();
                return Err(StoreFailure::Database { store, source });
            }
        }
        sleep_until(deadline.min(Instant::now() + RETRY_PAUSE)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_picks_the_backend() {
        let sqlite = StoreSettings::parse("sqlite:///srv/data").unwrap();
        assert_eq!(sqlite.to_string(), "SQLite in /srv/data");
        let postgres = StoreSettings::parse("postgres://u:hunter2@h/d").unwrap();
        assert_eq!(postgres.to_string(), "PostgreSQL at h:5432/d");
        for url in ["", "sqlite://", "sqlite:x", "mysql://h/d", "./data"] {
            assert!(StoreSettings::parse(url).is_err(), "{url}");
        }
    }
}
