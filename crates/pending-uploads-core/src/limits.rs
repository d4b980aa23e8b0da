//! What one upload, and one workspace, may take.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use crate::QuotaRefusal;

/// What one upload request may hold. Every limit is finite, and none is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    per_file_bytes: NonZeroU64,
    per_request_bytes: NonZeroU64,
    max_files: NonZeroU32,
}

/// The limits contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a request of at most {per_request_bytes} bytes cannot hold a file of {per_file_bytes} bytes \
     and {} more of multipart framing",
    Limits::MIN_FRAMING_BYTES
)]
pub struct InvalidLimits {
    /// The cap on a file, in bytes.
    pub per_file_bytes: NonZeroU64,
    /// The cap on a request, in bytes.
    pub per_request_bytes: NonZeroU64,
}

impl Limits {
    /// Room for the multipart framing of a request whose only file has exactly the per-file cap,
    /// in bytes.
    pub const FRAMING_BYTES: u64 = 1024 * 1024;
    /// The least room for that, in bytes: enough for a part whose name and headers are long.
    pub const MIN_FRAMING_BYTES: u64 = 4 * 1024;
    const DEFAULT_FILE_BYTES: NonZeroU64 = NonZeroU64::new(100 * 1024 * 1024).unwrap();
    const DEFAULT_FILES: NonZeroU32 = NonZeroU32::new(64).unwrap();

    /// Limits with an explicit cap on the whole request body, framing included.
    ///
    /// # Errors
    /// [`InvalidLimits`] when a file of the per-file cap could not fit into a request with
    /// [`MIN_FRAMING_BYTES`](Self::MIN_FRAMING_BYTES) of framing.
    pub fn new(
        per_file_bytes: NonZeroU64,
        per_request_bytes: NonZeroU64,
        max_files: NonZeroU32,
    ) -> Result<Self, InvalidLimits> {
        let least = per_file_bytes.saturating_add(Self::MIN_FRAMING_BYTES);
        if per_request_bytes < least {
            return Err(InvalidLimits {
                per_file_bytes,
                per_request_bytes,
            });
        }
        Ok(Self {
            per_file_bytes,
            per_request_bytes,
            max_files,
        })
    }

    /// Limits whose request cap is the per-file cap plus [`FRAMING_BYTES`](Self::FRAMING_BYTES).
    pub fn for_files_of(per_file_bytes: NonZeroU64, max_files: NonZeroU32) -> Self {
        Self {
            per_file_bytes,
            per_request_bytes: per_file_bytes.saturating_add(Self::FRAMING_BYTES),
            max_files,
        }
    }

    /// The largest file, in bytes.
    pub fn per_file_bytes(&self) -> u64 {
        self.per_file_bytes.get()
    }

    /// The largest request body, in bytes, its framing included.
    pub fn per_request_bytes(&self) -> u64 {
        self.per_request_bytes.get()
    }

    /// The most files in one request.
    pub fn max_files(&self) -> u32 {
        self.max_files.get()
    }
}

/// 100 MiB a file, 64 files, and a request of one such file with its framing.
impl Default for Limits {
    fn default() -> Self {
        Self::for_files_of(Self::DEFAULT_FILE_BYTES, Self::DEFAULT_FILES)
    }
}

/// How much may wait for one workspace at once. Checked in the publishing transaction, after every
/// earlier publish of the workspace has committed, so that parallel uploads cannot overshoot it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// The most bytes of waiting files.
    pub waiting_bytes: u64,
    /// The most waiting files.
    pub waiting_files: u32,
}

impl Quota {
    /// Whether that many files, of that many bytes together, may wait.
    ///
    /// # Errors
    /// The half of the quota that they are over; the files, when they are over both.
    pub fn check(&self, files: u64, bytes: u64) -> Result<(), QuotaRefusal> {
        if files > u64::from(self.waiting_files) {
            let max = self.waiting_files;
            return Err(QuotaRefusal::WaitingFiles { max });
        }
        if bytes > self.waiting_bytes {
            let max = self.waiting_bytes;
            return Err(QuotaRefusal::WaitingBytes { max });
        }
        Ok(())
    }
}

/// 10 GiB and 10,000 files.
impl Default for Quota {
    fn default() -> Self {
        Self {
            waiting_bytes: 10 * 1024 * 1024 * 1024,
            waiting_files: 10_000,
        }
    }
}

/// What a store of files is told when it is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StorageConfig {
    /// How long a file is served after its publication.
    pub ttl: Duration,
    /// How much may wait for one workspace.
    pub quota: Quota,
    /// After how long a silence a batch is taken to be abandoned: what the sweeper is told as its
    /// [`SweepPolicy::staging_lease`](crate::SweepPolicy::staging_lease). A batch that is written to
    /// renews its lease whenever a quarter of it is over.
    pub staging_lease: Duration,
}

/// 24 hours, the default quota, and an hour of silence.
impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            ttl: Duration::from_hours(24),
            quota: Quota::default(),
            staging_lease: Duration::from_hours(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_request_holds_one_file_of_exactly_the_cap() {
        let limits = Limits::default();
        assert_eq!(limits.per_file_bytes(), 100 * 1024 * 1024);
        assert!(limits.per_request_bytes() > limits.per_file_bytes());
        assert_eq!(limits.max_files(), 64);
    }

    #[test]
    fn a_quota_is_passed_by_one_more_and_names_its_half() {
        let quota = Quota {
            waiting_bytes: 10,
            waiting_files: 2,
        };
        assert_eq!(quota.check(2, 10), Ok(()));
        let (files, bytes) = (
            Err(QuotaRefusal::WaitingFiles { max: 2 }),
            Err(QuotaRefusal::WaitingBytes { max: 10 }),
        );
        assert_eq!(quota.check(3, 10), files);
        assert_eq!(quota.check(2, 11), bytes);
        assert_eq!(quota.check(3, 11), files);
    }

    #[test]
    fn a_request_that_cannot_hold_its_largest_file_is_refused() {
        let bytes = |n| NonZeroU64::new(n).unwrap();
        let files = NonZeroU32::new(1).unwrap();
        let least = 10 + Limits::MIN_FRAMING_BYTES;
        let error = Limits::new(bytes(10), bytes(least - 1), files).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a request of at most 4105 bytes cannot hold a file of 10 bytes and 4096 more of \
             multipart framing"
        );
        assert!(Limits::new(bytes(10), bytes(least), files).is_ok());
    }
}
