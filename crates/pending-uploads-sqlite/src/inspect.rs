//! Looking at a data folder from outside, without changing it: for a check before or while a server
//! runs on it.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use pending_uploads_core::Timestamp;
use rusqlite::{Connection, OpenFlags};

use crate::folder;
use crate::rows::Time;
use crate::schema;

/// What can be seen of a data folder from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inspection {
    /// There is none: it is made when it is first opened.
    Missing,
    /// There is one, and it can be opened.
    Readable {
        /// Whether a process has it open.
        folder_use: FolderUse,
        /// The version of its schema; 0 for a folder that was never opened to its end.
        schema: i64,
        /// The newest version of the schema that this program knows.
        known: i64,
        /// When its newest feed row was appended.
        newest_row: Option<Timestamp>,
    },
    /// There is something, and it cannot be read.
    Unreadable {
        /// What could not be read.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Whether a process has a data folder open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FolderUse {
    /// One has.
    Open,
    /// None has.
    Idle,
}

/// Looks at a data folder. It blocks while it does, and changes nothing.
pub fn inspect(path: &Path) -> Inspection {
    let database = folder::database_in(path);
    if !database.exists() {
        return missing_or_unreadable(path);
    }
    match read(path, &database) {
        Ok(readable) => readable,
        Err(reason) => Inspection::Unreadable {
            path: database,
            reason,
        },
    }
}

fn missing_or_unreadable(path: &Path) -> Inspection {
    match path.metadata() {
        Ok(found) if !found.is_dir() => Inspection::Unreadable {
            path: path.to_owned(),
            reason: "it is not a folder".to_owned(),
        },
        Ok(_) => Inspection::Missing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Inspection::Missing,
        Err(error) => Inspection::Unreadable {
            path: path.to_owned(),
            reason: error.to_string(),
        },
    }
}

fn read(path: &Path, database: &Path) -> Result<Inspection, String> {
    let connection = open(database).map_err(|error| error.to_string())?;
    let schema = schema::version(&connection).map_err(|error| error.to_string())?;
    let newest_row = if schema == 0 {
        None
    } else {
        newest_row(&connection).map_err(|error| error.to_string())?
    };
    Ok(Inspection::Readable {
        folder_use: use_of(path).map_err(|error| error.to_string())?,
        schema,
        known: schema::NEWEST,
        newest_row,
    })
}

/// Opens a database to look at it. Without a log beside it there is nobody who writes, and SQLite is
/// told so: it would make a log, and leave it there.
fn open(database: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    match database.to_str() {
        Some(name) if !Path::new(&log).exists() => {
            let uri = format!("file:{}?immutable=1", in_uri(name));
            Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)
        }
        _ => Connection::open_with_flags(database, flags),
    }
}

/// A path as SQLite's URIs have it.
fn in_uri(path: &str) -> String {
    path.replace('%', "%25")
        .replace('?', "%3f")
        .replace('#', "%23")
}

fn newest_row(connection: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    connection.query_row("SELECT max(created_at) FROM activity", [], |row| {
        Ok(row.get::<_, Option<Time>>(0)?.map(|time| time.0))
    })
}

fn use_of(path: &Path) -> std::io::Result<FolderUse> {
    let lock = match File::open(folder::lock_in(path)) {
        Ok(lock) => lock,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(FolderUse::Idle),
        Err(error) => return Err(error),
    };
    match lock.try_lock_shared() {
        Ok(()) => Ok(FolderUse::Idle),
        Err(TryLockError::WouldBlock) => Ok(FolderUse::Open),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ffi::OsString;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;
    use crate::Database;

    #[tokio::test]
    async fn a_folder_is_seen_as_it_is_and_left_as_it_was() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data of 100% #1?");
        assert_eq!(inspect(&path), Inspection::Missing);
        assert!(!path.exists());

        let database = Database::open(&path).unwrap();
        let readable = |folder_use| Inspection::Readable {
            folder_use,
            schema: schema::NEWEST,
            known: schema::NEWEST,
            newest_row: None,
        };
        assert_eq!(inspect(&path), readable(FolderUse::Open));
        drop(database);
        // The writing thread lets the folder go when it has ended.
        while use_of(&path).unwrap() == FolderUse::Open {
            thread::yield_now();
        }
        let before = names(&path);
        assert_eq!(inspect(&path), readable(FolderUse::Idle));
        assert_eq!(names(&path), before);
    }

    fn names(folder: &Path) -> BTreeSet<OsString> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn what_is_no_folder_or_holds_no_database_is_said_so() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        std::fs::write(&file, "x").unwrap();
        assert!(matches!(inspect(&file), Inspection::Unreadable { .. }));
        let folder = parent.path().join("folder");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(
            folder::database_in(&folder),
            "not a database at all, but long enough",
        )
        .unwrap();
        assert!(matches!(inspect(&folder), Inspection::Unreadable { .. }));
    }

    #[test]
    fn whoever_only_looks_keeps_nobody_from_opening_the_folder() {
        let parent = tempfile::tempdir().unwrap();
        let folder = folder::Folder::open(parent.path()).unwrap();
        drop(folder);
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    use_of(parent.path()).unwrap();
                }
            });
            let opened = (0..200).all(|_| folder::Folder::open(parent.path()).is_ok());
            is_over.store(true, Ordering::Relaxed);
            assert!(opened);
        });
    }
}
