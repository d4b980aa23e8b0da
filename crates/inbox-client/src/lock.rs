//! Locks on files, which the system lets go of when their handle is closed, however the process ends.

use std::fs::{File, TryLockError};
use std::io;
use std::thread;
use std::time::Duration;

/// How often a lock is tried for, and how long in between.
const TRIES: u32 = 10;
const BETWEEN_TRIES: Duration = Duration::from_millis(2);

/// Takes the file for this handle alone, unless another one has it.
///
/// A process that is just being forked has all that its parent had open, until it runs its own
/// program: it may hold a lock for a moment that was let go of before. So one that is gone within some
/// 20 milliseconds counts as free, which is waited for.
pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
    for tries in 1.. {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if tries < TRIES => thread::sleep(BETWEEN_TRIES),
            Err(TryLockError::WouldBlock) => break,
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use tempfile::NamedTempFile;

    use super::*;

    #[test]
    fn a_lock_that_is_let_go_of_soon_is_waited_for_and_another_one_is_not() {
        let file = NamedTempFile::new().unwrap();
        let open = || File::open(file.path()).unwrap();
        let held = open();
        assert!(try_lock(&held).unwrap());
        let next = open();
        assert!(!try_lock(&next).unwrap());
        drop(held);
        assert!(try_lock(&next).unwrap());
    }
}
