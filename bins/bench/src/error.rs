//! What can go wrong with a benchmark.

use crate::floors::FloorError;

/// A benchmark that could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// The figures cannot be kept.
    #[error("a histogram of latencies cannot be made")]
    Histogram,
    /// A worker panicked.
    #[error("a worker of the load died")]
    WorkerDied,
    /// A floor could not be measured.
    #[error("a floor cannot be measured")]
    Floor(#[from] FloorError),
}
