//! How much the files that are being written collect before it is written, and the memory for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::appended::Burst;

/// How much is collected at the least before it is written, in bytes; as much again is being written
/// meanwhile. A smaller file is written through the cache.
const LEAST_BURST_BYTES: usize = 256 * 1024;

/// How much is collected at the most, in bytes.
const LARGEST_BURST_BYTES: usize = 1024 * 1024;

/// How much all files that are being written collect together, in bytes, as long as there are few
/// enough of them; as much again is being written meanwhile.
const ALL_BURSTS_BYTES: usize = 4 * 1024 * 1024;

/// How many bursts are kept for the next file. Their memory would be the system's to give again and
/// again, page by page.
const KEPT_BURSTS: usize = 4;

/// All files of a data folder that are being written: how many they are, and the bursts that none of
/// them has.
#[derive(Debug, Clone, Default)]
pub(crate) struct FileWriters(Arc<Mutex<Vec<Burst>>>);

impl FileWriters {
    /// An empty burst, for a file that begins.
    pub(crate) fn first_burst(&self) -> Burst {
        self.burst(LEAST_BURST_BYTES)
    }

    /// An empty burst, for a file that goes on.
    pub(crate) fn next_burst(&self) -> Burst {
        self.burst(self.burst_bytes())
    }

    /// Takes back a burst that is no longer needed.
    pub(crate) fn take_back(&self, burst: Burst) {
        let most = self.burst_bytes();
        let mut kept = self.kept();
        kept.push(burst);
        // Where there are many files, memory is what counts.
        let (mut fit, mut spare): (Vec<_>, Vec<_>) =
            kept.drain(..).partition(|burst| burst.size() <= most);
        // The oldest go: theirs may be a size that nobody asks for any more.
        let too_many = fit.len().saturating_sub(KEPT_BURSTS);
        spare.extend(fit.drain(..too_many));
        *kept = fit;
        // Memory is given back when nobody waits for the lock.
        drop(kept);
        drop(spare);
    }

    #[cfg(test)]
    pub(crate) fn keeps_some(&self) -> bool {
        !self.kept().is_empty()
    }

    /// How much one of them collects now.
    fn burst_bytes(&self) -> usize {
        // One of those who hold it is the folder.
        let writers = Arc::strong_count(&self.0).saturating_sub(1).max(1);
        let each = ALL_BURSTS_BYTES / writers.next_power_of_two();
        each.clamp(LEAST_BURST_BYTES, LARGEST_BURST_BYTES)
    }

    fn burst(&self, bytes: usize) -> Burst {
        let found = {
            let mut kept = self.kept();
            let at = kept.iter().position(|burst| burst.size() == bytes);
            at.map(|at| kept.remove(at))
        };
        found.map_or_else(|| Burst::of(bytes), Burst::emptied)
    }

    /// A thread that panicked while it held the lock left the list whole: every use is one call.
    fn kept(&self) -> MutexGuard<'_, Vec<Burst>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_files_are_being_written_the_smaller_are_their_bursts_within_bounds() {
        let all = FileWriters::default();
        let mut writers = vec![all.clone(); 4];
        assert_eq!(all.burst_bytes(), LARGEST_BURST_BYTES);
        writers.push(all.clone());
        assert_eq!(all.burst_bytes(), LARGEST_BURST_BYTES / 2);
        writers.resize(64, all.clone());
        assert_eq!(all.burst_bytes(), LEAST_BURST_BYTES);
        writers.resize(1000, all.clone());
        assert_eq!(all.burst_bytes(), LEAST_BURST_BYTES);
        writers.truncate(4);
        assert_eq!(all.burst_bytes(), LARGEST_BURST_BYTES);
    }

    #[test]
    fn a_few_bursts_are_kept_and_are_empty_when_they_are_used_again() {
        let all = FileWriters::default();
        for _ in 0..=KEPT_BURSTS {
            let mut burst = Burst::of(LEAST_BURST_BYTES);
            burst.take(b"of another file");
            all.take_back(burst);
        }
        assert_eq!(all.kept().len(), KEPT_BURSTS);
        assert_eq!(all.next_burst().size(), LARGEST_BURST_BYTES);
        assert_eq!(all.kept().len(), KEPT_BURSTS);
        let burst = all.first_burst();
        assert_eq!((burst.bytes(), burst.size()), (&b""[..], LEAST_BURST_BYTES));
        assert_eq!(all.kept().len(), KEPT_BURSTS - 1);
    }

    #[test]
    fn no_large_burst_is_kept_where_many_files_are_being_written() {
        let all = FileWriters::default();
        let writers = vec![all.clone(); 64];
        all.take_back(Burst::of(LARGEST_BURST_BYTES));
        assert_eq!(all.kept().len(), 0);
        all.take_back(all.next_burst());
        assert_eq!(all.kept().len(), 1);
        drop(writers);
        all.take_back(Burst::of(LARGEST_BURST_BYTES));
        assert_eq!(all.kept().len(), 2);
    }
}
