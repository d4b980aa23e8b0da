//! The floors of SQLite: a bare loop on rusqlite and files, on our own schema.

mod loads;
mod work;
mod writer;

use std::path::{Path, PathBuf};

use pending_uploads_sqlite::Database;
use rusqlite::Connection;

use super::{Content, FloorError};
use crate::error::BenchError;

pub(crate) use loads::{ack, poll, publish};
pub(crate) use writer::Grouping;

/// As those of the writing connection in production; every commit is synced.
const PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON; \
     PRAGMA journal_size_limit = 16777216; PRAGMA cache_size = -2048; PRAGMA synchronous = FULL;";

/// A data folder that nobody else has open, with our schema in it.
#[derive(Debug, Clone)]
pub(crate) struct FloorFolder {
    path: PathBuf,
    content: Content,
}

impl FloorFolder {
    /// Makes the folder, as our backend does.
    pub(crate) async fn open(path: &Path) -> Result<Self, BenchError> {
        let database = Database::open(path).map_err(FloorError::from)?;
        let closed = database.closed();
        drop(database);
        closed.await;
        Ok(Self {
            path: path.to_owned(),
            content: Content::random()?,
        })
    }

    fn connect(&self) -> Result<Connection, FloorError> {
        let connection = Connection::open(self.path.join("pending-uploads.sqlite3"))?;
        connection.execute_batch(PRAGMAS)?;
        connection.set_prepared_statement_cache_capacity(32);
        Ok(connection)
    }

    fn files(&self) -> PathBuf {
        self.path.join("files")
    }

    fn content(&self) -> &Content {
        &self.content
    }
}

#[cfg(test)]
mod tests;
