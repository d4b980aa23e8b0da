//! Room on the disk, of which several fetches at once must not count the same twice.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many bytes the fetches under way have still to write.
#[derive(Debug, Default)]
pub(super) struct Room(Mutex<u64>);

/// The part of the room that one fetch has yet to fill; it is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Reserved<'a> {
    room: &'a Room,
    bytes: u64,
}

impl Room {
    /// Reserves `missing` bytes, if `free` bytes are enough for them, for what others have reserved,
    /// and for `spare` bytes that are to be left free.
    pub(super) fn reserve(&self, missing: u64, free: u64, spare: u64) -> Option<Reserved<'_>> {
        let mut reserved = self.lock();
        let needed = missing.saturating_add(*reserved).saturating_add(spare);
        if free < needed {
            return None;
        }
        *reserved += missing;
        drop(reserved);
        Some(Reserved {
            room: self,
            bytes: missing,
        })
    }

    /// A task that panicked with the lock left a number that is as right as before.
    fn lock(&self) -> MutexGuard<'_, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reserved<'_> {
    /// So many bytes of it are on the disk now.
    pub(super) fn filled(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        *self.room.lock() -= bytes;
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        *self.room.lock() -= self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_fetches_do_not_count_on_the_same_room() {
        let room = Room::default();
        let mut first = room.reserve(60, 100, 10).unwrap();
        assert!(room.reserve(31, 100, 10).is_none());
        let second = room.reserve(30, 100, 10).unwrap();
        drop(second);
        first.filled(60);
        assert!(room.reserve(30, 40, 10).is_some());
        drop(first);
        assert!(room.reserve(90, 100, 10).is_some());
    }
}
