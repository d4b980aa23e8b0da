//! Whether the database file holds what was copied into it.
//!
//! The system tells once that it could not write what it was given. A copy of the log that fails so
//! may have lost what an earlier one had copied and not synced; the next would sync without an error,
//! and the log would begin anew without what is not on the disk. So nothing is copied any more, and
//! nothing written: the log has all of it, and whoever opens the folder next copies it from the
//! beginning.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use log::error;
use rusqlite::ffi;

/// Raised when the database could not be synced, and never lowered. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Doubt(Arc<AtomicBool>);

impl Doubt {
    /// Looks at what a copy of the log has failed for.
    pub(crate) fn note(&self, failure: &rusqlite::Error) {
        if is_failed_sync(failure) && !self.0.swap(true, Ordering::SeqCst) {
            error!(error:% = failure; "the database could not be synced: nothing is written any more; \
                 look at the disk, and start again");
        }
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Nothing may be written while it is raised.
    pub(crate) fn check(&self) -> rusqlite::Result<()> {
        if self.is_raised() {
            return Err(rusqlite::Error::SqliteFailure(
                ffi::Error::new(ffi::SQLITE_BUSY),
                Some("the database could not be synced".to_owned()),
            ));
        }
        Ok(())
    }
}

fn is_failed_sync(failure: &rusqlite::Error) -> bool {
    let code = failure.sqlite_error().map(|error| error.extended_code);
    code == Some(ffi::SQLITE_IOERR_FSYNC)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(extended_code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(extended_code), None)
    }

    #[test]
    fn a_failed_sync_raises_it_and_a_full_disk_does_not() {
        let doubt = Doubt::default();
        doubt.note(&failure(ffi::SQLITE_FULL));
        doubt.note(&failure(ffi::SQLITE_IOERR_WRITE));
        assert!(!doubt.is_raised());
        assert!(doubt.check().is_ok());
        doubt.note(&failure(ffi::SQLITE_IOERR_FSYNC));
        assert!(doubt.clone().is_raised());
        assert!(doubt.check().is_err());
    }
}
