//! Keeps the write-ahead log short, even while somebody reads at every moment.
//!
//! `checkpoints` has the log copied into the database every few megabytes, as far as no reader still
//! looks at an older state, and SQLite begins it anew when nobody looks at it at all. Under readers
//! that overlap without end that moment never comes, and the log grows with everything that is
//! written.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use log::warn;
use rusqlite::Connection;

use crate::checkpoints::Checkpoints;
use crate::doubt::Doubt;

/// How long the log may become before the writer waits for those who read, in bytes.
pub(crate) const LONG_BYTES: u64 = 16 * 1024 * 1024;
/// How long the writer waits for them. Ours read for a moment each; whoever looks into the database
/// from outside may take longer, and is not waited for.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long it waits for the database otherwise. Nobody else writes, but for a person with a tool.
const BUSY_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Truncated {
    Wholly,
    Not,
}

/// Looks after the log of one connection.
#[derive(Debug)]
pub(crate) struct LogLength {
    /// There is none for a database in memory.
    path: Option<PathBuf>,
    /// From which length on it is cut, in bytes.
    long: u64,
    doubt: Doubt,
}

impl LogLength {
    /// Looks after the log of the database that `connection` writes.
    pub(crate) fn of(connection: &Connection, doubt: Doubt) -> Self {
        let database = connection.path().filter(|path| !path.is_empty());
        Self {
            path: database.map(|path| PathBuf::from(format!("{path}-wal"))),
            long: LONG_BYTES,
            doubt,
        }
    }

    /// Cuts the log if it is long: to be called between two transactions. SQLite does not wait for
    /// another who copies it, and so `checkpoints` is kept off.
    pub(crate) fn check(&mut self, connection: &Connection, checkpoints: &Checkpoints) {
        let length = self.measure();
        if length < LONG_BYTES {
            self.long = LONG_BYTES;
        }
        if length >= self.long {
            let _keeping_off = checkpoints.keep_off();
            self.cut(connection);
            // Somebody who did not let go in time is not waited for again until it has grown on.
            self.long = self.measure() + LONG_BYTES;
        }
    }

    /// Copies all of the log into the database and empties it, if those who read let go in time.
    pub(crate) fn cut(&self, connection: &Connection) {
        if self.path.is_none() || self.doubt.is_raised() {
            return;
        }
        if let Err(error) = self.truncate(connection) {
            warn!(error:%; "the write-ahead log could not be copied into the database");
        }
    }

    /// As [`cut`](Self::cut), and fails when somebody who reads does not let go.
    pub(crate) fn empty(&self, connection: &Connection) -> rusqlite::Result<()> {
        if self.path.is_some() && self.truncate(connection)? == Truncated::Not {
            return Err(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
                Some(
                    "a commit failed, and somebody who reads keeps the log from beginning anew"
                        .to_owned(),
                ),
            ));
        }
        Ok(())
    }

    fn measure(&self) -> u64 {
        let length = |path| fs::metadata(path).map_or(0, |found| found.len());
        self.path.as_ref().map_or(0, length)
    }

    fn truncate(&self, connection: &Connection) -> rusqlite::Result<Truncated> {
        connection.busy_timeout(PATIENCE)?;
        let is_busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        connection.busy_timeout(BUSY_PATIENCE)?;
        match is_busy {
            Ok(true) => Ok(Truncated::Not),
            Ok(false) => Ok(Truncated::Wholly),
            Err(error) => {
                self.doubt.note(&error);
                Err(error)
            }
        }
    }
}
