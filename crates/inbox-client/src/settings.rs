//! What an inbox takes, how long it waits, and how it tries again.

use std::num::NonZeroU64;
use std::time::Duration;

/// What an inbox takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLimits {
    /// The largest file, in bytes. A larger one is not fetched at all, and lost as
    /// [`TooLarge`](crate::LostReason::TooLarge).
    pub max_file_bytes: NonZeroU64,
    /// How many bytes of the disk are left free, at the least. While a file would not leave that
    /// much, fetching pauses.
    pub min_free_bytes: u64,
}

/// 1 GiB a file, and 256 MiB left free.
impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            max_file_bytes: const { NonZeroU64::new(1024 * 1024 * 1024).unwrap() },
            min_free_bytes: 256 * 1024 * 1024,
        }
    }
}

/// How long the platform is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection, with its TLS handshake.
    pub connect: Duration,
    /// For the head of an answer; and for the whole of a small one, which is any but a file, the list
    /// of what waits and a page of the feed. A poll that waits has its wait on top.
    pub answer: Duration,
    /// Between two pieces of a file, in either direction, and of a list or a page of the feed.
    pub idle: Duration,
    /// How long the platform is asked to wait when there is nothing new; it waits for 60 seconds at
    /// the most. One that does not wait is polled again after [`RetryPolicy::first`], but after a second
    /// at the latest.
    pub wait: Duration,
    /// When a peer counts as too slow.
    pub slow: SlowPeer,
}

/// 10 seconds to connect, 30 for an answer and between two pieces, polls of 50 seconds.
impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            idle: Duration::from_secs(30),
            wait: Duration::from_secs(50),
            slow: SlowPeer::default(),
        }
    }
}

/// When what comes counts as too slow: it brought less than `min_bytes` within `window`. A fetch then
/// gives its place to the next file, and goes on later where it stopped; a list, or a page of the feed,
/// is asked for again. So a peer that trickles never holds a place for ever.
///
/// When either is zero, nothing is too slow, and [`Timeouts::idle`] alone ends who falls silent: a peer
/// that trickles may then take as long as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowPeer {
    /// The fewest bytes.
    pub min_bytes: u64,
    /// Within which time.
    pub window: Duration,
}

impl SlowPeer {
    /// Whether anybody can be too slow.
    pub(crate) fn asks_for_something(&self) -> bool {
        self.min_bytes > 0 && !self.window.is_zero()
    }
}

/// 64 KiB in a minute.
impl Default for SlowPeer {
    fn default() -> Self {
        Self {
            min_bytes: 64 * 1024,
            window: Duration::from_mins(1),
        }
    }
}

/// How long is waited before something that failed is tried again: a random time ("full jitter") of
/// at most `first`, twice that, four times that, and so on up to `longest`; and never less than the
/// platform asked for with `Retry-After` (RFC 9110, section 10.2.3), of which `longest_asked` is heeded
/// at the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The longest wait after the first failure.
    pub first: Duration,
    /// The longest wait after any number of failures.
    pub longest: Duration,
    /// The longest wait that the platform may ask for. What it asks for with one file is heeded for all
    /// of them.
    pub longest_asked: Duration,
}

/// Half a second, a minute, and ten minutes.
impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            longest: Duration::from_mins(1),
            longest_asked: Duration::from_mins(10),
        }
    }
}

/// What an inbox takes care of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Scope {
    /// Files and messages, until it is stopped.
    #[default]
    Everything,
    /// Files alone, until it is stopped; the cursor stays where it is, so that messages are left to
    /// a later inbox.
    Files,
    /// The files that wait at the start, and then no more: the events end when each of them has
    /// arrived and is acked, or is lost.
    WaitingFiles,
}
