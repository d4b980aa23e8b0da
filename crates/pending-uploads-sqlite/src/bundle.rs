//! Bundles: small files that are committed together lie one after another in one file beside the
//! database. They are written once and synced once, where rows are written into the log and then
//! into the database.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use log::warn;
use pending_uploads_core::FileId;
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::SqliteError;
use crate::folder::Folder;
use crate::rows::Id;
use crate::staged::delete_or_warn;

/// From so many bytes of small files in one commit on there is a bundle, for those of them that are
/// not too small. Fewer are written twice in less time than it takes to make a file.
const BUNDLE_BYTES: u64 = 320 * 1024;
/// The smallest file that goes into one, in bytes.
const LEAST_BYTES: usize = 16 * 1024;
/// Each file begins at a multiple of this, so that all of its room can be given back before that of
/// its neighbours.
const BLOCK_BYTES: u64 = 4096;

const UNWRITTEN: &str = "a bundle could not be written; its files go into rows";

const INSERT_BUNDLE: &str = "INSERT INTO bundles (id, files) VALUES (?1, ?2)";
const LEAVE: &str = "UPDATE bundles SET files = files - 1 WHERE id = ?1 RETURNING files";
const DELETE_BUNDLE: &str = "DELETE FROM bundles WHERE id = ?1";

/// Where a file lies in a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    /// What the bundle's file is called.
    pub(crate) bundle: FileId,
    /// Where in it the file begins, in bytes.
    pub(crate) offset: u64,
}

/// What a piece of work for the writing thread writes into: the transaction, and the bundle of what
/// is committed with it.
#[derive(Debug)]
pub(crate) struct Writing<'a> {
    connection: &'a Connection,
    bundling: RefCell<Bundling>,
}

/// What becomes of the bytes of small files in one commit.
#[derive(Debug)]
enum Bundling {
    /// They go into rows.
    Rows,
    /// They go into a bundle, which is made when there is something to put into it.
    Possible(Arc<Folder>),
    Begun(NewBundle),
    /// The bundle could not be written: the commit must not be made.
    Failed,
}

/// The bundle could not be written. What was to lie in it goes into rows, in another transaction.
#[derive(Debug)]
pub(crate) struct BundleFailed;

impl<'a> Writing<'a> {
    /// A transaction with all bytes in rows.
    pub(crate) fn in_rows(connection: &'a Connection) -> Self {
        Self {
            connection,
            bundling: RefCell::new(Bundling::Rows),
        }
    }

    /// A transaction in which small files go into a bundle if they are `bytes` together.
    pub(crate) fn of(connection: &'a Connection, folder: &Arc<Folder>, bytes: u64) -> Self {
        if bytes < BUNDLE_BYTES {
            return Self::in_rows(connection);
        }
        Self {
            connection,
            bundling: RefCell::new(Bundling::Possible(Arc::clone(folder))),
        }
    }

    /// Whether all bytes go into rows.
    pub(crate) fn is_in_rows(&self) -> bool {
        matches!(*self.bundling.borrow(), Bundling::Rows)
    }

    pub(crate) fn connection(&self) -> &'a Connection {
        self.connection
    }

    /// Puts the bytes of a file into the bundle, and answers where they lie; none when they belong
    /// into a row.
    pub(crate) fn put(&self, data: &[u8]) -> Result<Option<Slot>, SqliteError> {
        if data.len() < LEAST_BYTES {
            return Ok(None);
        }
        let mut bundling = self.bundling.borrow_mut();
        let put = match &mut *bundling {
            Bundling::Rows => return Ok(None),
            Bundling::Failed => return Err(SqliteError::Closed),
            Bundling::Possible(folder) => NewBundle::create(folder).and_then(|mut bundle| {
                let slot = bundle.append(data);
                *bundling = Bundling::Begun(bundle);
                slot
            }),
            Bundling::Begun(bundle) => bundle.append(data),
        };
        put.map(Some).map_err(|error| {
            warn!(error:%; "{UNWRITTEN}");
            *bundling = Bundling::Failed;
            error.into()
        })
    }

    /// How much was written into the transaction or put into the bundle so far; it grows with each
    /// change and means nothing else.
    pub(crate) fn changes(&self) -> u64 {
        let put = match &*self.bundling.borrow() {
            Bundling::Begun(bundle) => u64::from(bundle.files),
            Bundling::Rows | Bundling::Possible(_) | Bundling::Failed => 0,
        };
        self.connection.total_changes().saturating_add(put)
    }

    /// Makes the bundle durable, if there is one, and notes it in the transaction: to be called last
    /// before its commit. Nothing of the transaction may be committed when this fails.
    pub(crate) fn seal(self) -> Result<Option<NewBundle>, BundleFailed> {
        match self.bundling.into_inner() {
            Bundling::Rows | Bundling::Possible(_) => Ok(None),
            Bundling::Failed => Err(BundleFailed),
            Bundling::Begun(bundle) => match bundle.seal(self.connection) {
                Ok(()) => Ok(Some(bundle)),
                Err(error) => {
                    warn!(error:%; "{UNWRITTEN}");
                    Err(BundleFailed)
                }
            },
        }
    }
}

/// A bundle whose commit is under way. Dropping it deletes its file.
#[derive(Debug)]
pub(crate) struct NewBundle {
    folder: Arc<Folder>,
    id: FileId,
    file: File,
    end: u64,
    files: u32,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Delete,
    Keep,
}

impl NewBundle {
    fn create(folder: &Arc<Folder>) -> io::Result<Self> {
        let id = FileId::generate();
        Ok(Self {
            file: folder.create(id)?,
            folder: Arc::clone(folder),
            id,
            end: 0,
            files: 0,
            fate: Fate::Delete,
        })
    }

    fn append(&mut self, data: &[u8]) -> io::Result<Slot> {
        let offset = self.end.next_multiple_of(BLOCK_BYTES);
        self.file.write_all_at(data, offset)?;
        self.end = offset + data.len() as u64;
        self.files += 1;
        Ok(Slot {
            bundle: self.id,
            offset,
        })
    }

    fn seal(&self, connection: &Connection) -> Result<(), SqliteError> {
        connection
            .prepare_cached(INSERT_BUNDLE)?
            .execute(params![Id(self.id.as_uuid()), self.files])?;
        self.file.sync_data()?;
        Ok(self.folder.sync_names()?)
    }

    /// Keeps the file: its commit was made, or may have been.
    pub(crate) fn keep(mut self) {
        self.fate = Fate::Keep;
    }
}

impl Drop for NewBundle {
    fn drop(&mut self) {
        if self.fate == Fate::Delete {
            delete_or_warn(&self.folder, self.id);
        }
    }
}

/// What the deletion of a file's record leaves to be deleted beside the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leftover {
    Nothing,
    /// A file: one's own, or a bundle that was left by its last file.
    File(FileId),
    /// A stretch of so many bytes, whole blocks, of a bundle that has other files.
    Stretch(Slot, u64),
}

/// Takes a file of so many bytes out of its bundle.
pub(crate) fn leave(
    connection: &Connection,
    slot: Slot,
    size_bytes: u64,
) -> Result<Leftover, SqliteError> {
    let bundle = Id(slot.bundle.as_uuid());
    let left: Option<i64> = connection
        .prepare_cached(LEAVE)?
        .query_row([bundle], |row| row.get(0))
        .optional()?;
    match left {
        Some(0) => {
            let mut delete = connection.prepare_cached(DELETE_BUNDLE)?;
            delete.execute([bundle])?;
            Ok(Leftover::File(slot.bundle))
        }
        Some(_) => {
            let blocks = size_bytes.next_multiple_of(BLOCK_BYTES);
            Ok(Leftover::Stretch(slot, blocks))
        }
        // Its record is lost: the file must not stay for ever because of that.
        None => Ok(Leftover::Nothing),
    }
}
