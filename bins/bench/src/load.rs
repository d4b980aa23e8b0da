//! A load: so many workers, each of which begins its next turn when its last one is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use crate::error::BenchError;
use crate::figures::{Figure, Figures};

/// The precision of a latency: two significant digits of it are kept.
const SIGNIFICANT_DIGITS: u8 = 2;
/// The longest latency that is kept, in microseconds: an hour.
const LONGEST_MICROS: u64 = 3_600_000_000;
/// The percentiles, and how many turns each needs.
const PERCENTILES: [(Figure, f64, u64); 3] = [
    (Figure::P50Millis, 0.5, 1),
    (Figure::P99Millis, 0.99, 100),
    (Figure::P999Millis, 0.999, 1_000),
];

/// What is done over and over, by one connection at a time.
pub(crate) trait Worker: Send + 'static {
    /// Does it once; answers how many bytes of content that moved.
    fn turn(&mut self) -> impl Future<Output = Result<u64, BenchError>> + Send;
}

/// When a load ends: after so long, or when so many turns were begun, whichever comes first.
/// Turns under way are waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) duration: Duration,
    pub(crate) turns: u64,
}

/// What a load yielded.
#[derive(Debug, Clone)]
pub(crate) struct Yield {
    pub(crate) turns: u64,
    pub(crate) bytes: u64,
    pub(crate) elapsed: Duration,
    /// In microseconds.
    pub(crate) latencies: Histogram<u64>,
}

impl Yield {
    /// Of a load that has not begun.
    pub(crate) fn nothing() -> Result<Self, BenchError> {
        Ok(Self {
            turns: 0,
            bytes: 0,
            elapsed: Duration::ZERO,
            latencies: Histogram::new_with_max(LONGEST_MICROS, SIGNIFICANT_DIGITS)
                .map_err(|_| BenchError::Histogram)?,
        })
    }

    /// Notes a turn.
    pub(crate) fn note(&mut self, bytes: u64, latency: Duration) {
        self.turns += 1;
        self.bytes += bytes;
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latencies.saturating_record(micros);
    }

    /// The rates and the latencies. A percentile needs as many turns as it has parts: without a
    /// hundred there is no 99th, and without a thousand no 99.9th.
    pub(crate) fn figures(&self) -> Figures {
        let mut figures = Figures::default();
        if self.turns > 0 {
            figures.set(Figure::TurnsPerSecond, self.rate(self.turns));
        }
        if self.bytes > 0 {
            figures.set(Figure::MbPerSecond, self.rate(self.bytes) / 1e6);
        }
        for (figure, quantile, turns) in PERCENTILES {
            if self.turns >= turns {
                let micros = self.latencies.value_at_quantile(quantile);
                figures.set(figure, Duration::from_micros(micros).as_secs_f64() * 1e3);
            }
        }
        figures
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "figures have few significant digits"
    )]
    fn rate(&self, amount: u64) -> f64 {
        amount as f64 / self.elapsed.as_secs_f64()
    }

    fn add(&mut self, other: &Self) -> Result<(), BenchError> {
        self.turns += other.turns;
        self.bytes += other.bytes;
        self.latencies
            .add(&other.latencies)
            .map_err(|_| BenchError::Histogram)
    }
}

/// Drives the workers at once until the load is over. The first worker that fails ends it.
pub(crate) async fn drive<W: Worker>(workers: Vec<W>, extent: Extent) -> Result<Yield, BenchError> {
    let begun = Instant::now();
    let turns = Arc::new(AtomicU64::new(0));
    let mut tasks: JoinSet<_> = workers
        .into_iter()
        .map(|worker| work(worker, begun, extent, Arc::clone(&turns)))
        .collect();
    let mut all = Yield::nothing()?;
    while let Some(ended) = tasks.join_next().await {
        all.add(&ended.map_err(|_| BenchError::WorkerDied)??)?;
    }
    all.elapsed = begun.elapsed();
    Ok(all)
}

async fn work(
    mut worker: impl Worker,
    begun: Instant,
    extent: Extent,
    turns: Arc<AtomicU64>,
) -> Result<Yield, BenchError> {
    let mut own = Yield::nothing()?;
    while begun.elapsed() < extent.duration && turns.fetch_add(1, Ordering::Relaxed) < extent.turns
    {
        let turn_begun = Instant::now();
        let bytes = worker.turn().await?;
        own.note(bytes, turn_begun.elapsed());
    }
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Ten;

    impl Worker for Ten {
        async fn turn(&mut self) -> Result<u64, BenchError> {
            Ok(10)
        }
    }

    #[tokio::test]
    async fn a_load_ends_after_as_many_turns_as_it_may_have() {
        let extent = Extent {
            duration: Duration::MAX,
            turns: 7,
        };
        let yielded = drive(vec![Ten, Ten, Ten], extent).await.unwrap();
        assert_eq!((yielded.turns, yielded.bytes), (7, 70));
    }

    #[test]
    fn a_percentile_of_few_turns_is_not_given() {
        let mut yielded = Yield::nothing().unwrap();
        yielded.elapsed = Duration::from_secs(2);
        for _ in 0..100 {
            yielded.note(1_000_000, Duration::from_millis(3));
        }
        let figures = yielded.figures();
        assert_eq!(figures.get(Figure::TurnsPerSecond), Some(50.0));
        assert_eq!(figures.get(Figure::MbPerSecond), Some(50.0));
        assert_eq!(figures.get(Figure::P999Millis), None);
        let p99 = figures.get(Figure::P99Millis).unwrap();
        assert!((2.9..3.1).contains(&p99), "{p99}");
    }

    #[test]
    fn a_latency_is_kept_to_two_digits_however_long_it_was() {
        for latency in [20, 20_000, 20_000_000, 3_600_000_000] {
            let mut noted = Yield::nothing().unwrap();
            noted.note(1, Duration::from_micros(latency));
            let kept = noted.latencies.max();
            assert!(
                kept.abs_diff(latency) * 100 <= latency,
                "{kept} for {latency}"
            );
        }
    }
}
