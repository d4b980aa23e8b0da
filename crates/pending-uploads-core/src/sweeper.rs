//! The sweeper: forgets, again and again, what nobody will come for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{error, info};
use tokio::task::yield_now;
use tokio::time::{MissedTickBehavior, interval};

use crate::{ActivityLog, Clock, Error, Result, Stats, Storage, SweepPolicy, SweptFile};

/// How often feeds are pruned, or as often as their retention is over: rows live for weeks, and a
/// pass looks at the newest row of every workspace that has been quiet for as long.
const PRUNE_EVERY: Duration = Duration::from_hours(1);

/// After how many steps feeds are pruned and gauges set, whether files are left or not: where they
/// are acked as fast as they are swept, each step finds more.
const SWEEP_STEPS: u32 = 256;

/// Sweeps a store and prunes its feeds until nothing is left to do, at intervals.
#[derive(Clone)]
pub struct Sweeper {
    /// None where there are feeds alone.
    storage: Option<Arc<dyn Storage>>,
    activity: Arc<dyn ActivityLog>,
    clock: Arc<dyn Clock>,
    policy: SweepPolicy,
}

impl std::fmt::Debug for Sweeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sweeper")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// What one whole sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SweepSummary {
    /// Files that were deleted.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Rows that were pruned from feeds.
    pub feed_rows: u64,
}

/// What is left after some steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// Nothing for now.
    Nothing,
    /// Perhaps more.
    More,
}

impl Sweeper {
    /// A sweeper of `storage` and of the feeds in `activity`.
    pub fn new(
        storage: Arc<dyn Storage>,
        activity: Arc<dyn ActivityLog>,
        clock: Arc<dyn Clock>,
        policy: SweepPolicy,
    ) -> Self {
        Self {
            storage: Some(storage),
            activity,
            clock,
            policy,
        }
    }

    /// A sweeper of the feeds in `activity` alone, for a store that holds no files; rows stay for
    /// `feed_retention`.
    pub fn of_feeds(
        activity: Arc<dyn ActivityLog>,
        clock: Arc<dyn Clock>,
        feed_retention: Duration,
    ) -> Self {
        Self {
            storage: None,
            activity,
            clock,
            policy: SweepPolicy {
                feed_retention,
                ..SweepPolicy::default()
            },
        }
    }

    /// Sweeps at once and then every `every`, for ever, and prunes the feeds at once and then every
    /// hour, or as often as their retention is over; a sweep that fails is logged, and the next
    /// one tries again. A long sweep is interrupted now and then to prune and to set the gauges,
    /// and goes on at once. Dropping the future ends it between two steps or in one, which the store
    /// then does whole or not at all. Several instances may sweep one store at once.
    pub async fn run(&self, every: Duration) {
        let mut ticks = interval(every.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pruned = None;
        loop {
            ticks.tick().await;
            while self.sweep_and_report(&mut pruned).await == Left::More {
                // A store that never waits would keep the thread, and whoever wants to end this.
                yield_now().await;
            }
        }
    }

    /// Takes some steps, sets the gauges, and prunes when it is time to: `pruned` is when that began
    /// last. After a failure nothing is left for now.
    async fn sweep_and_report(&self, pruned: &mut Option<Instant>) -> Left {
        let left = match self.sweep_some(&mut SweepSummary::default()).await {
            Ok(left) => {
                self.report_stats().await;
                left
            }
            Err(error) => {
                log_failure(&error);
                Left::Nothing
            }
        };
        let prune_every = PRUNE_EVERY.min(self.policy.feed_retention);
        if pruned.is_none_or(|at| at.elapsed() >= prune_every) {
            *pruned = Some(Instant::now());
            if let Err(error) = self.prune_until_dry().await {
                log_failure(&error);
            }
        }
        left
    }

    /// Sweeps step by step until there is nothing left, and answers what it did; for as long as
    /// others make more as fast as it sweeps, it goes on.
    ///
    /// # Errors
    /// Those of [`Storage::sweep`] and [`ActivityLog::prune`]; what was swept before stays swept.
    pub async fn sweep_until_dry(&self) -> Result<SweepSummary> {
        let mut summary = SweepSummary::default();
        while self.sweep_some(&mut summary).await? == Left::More {}
        let feed_rows = self.prune_until_dry().await?;
        Ok(SweepSummary {
            feed_rows,
            ..summary
        })
    }

    /// Takes [`SWEEP_STEPS`] steps, or fewer when nothing is left, and adds to `summary` what they
    /// did.
    async fn sweep_some(&self, summary: &mut SweepSummary) -> Result<Left> {
        let Some(storage) = &self.storage else {
            return Ok(Left::Nothing);
        };
        for _ in 0..SWEEP_STEPS {
            let started = Instant::now();
            let swept = storage.sweep(&self.policy).await?;
            if swept.is_dry() {
                return Ok(Left::Nothing);
            }
            for file in &swept.files {
                log_swept(file, started.elapsed());
                summary.files += 1;
                summary.bytes += file.size_bytes;
            }
        }
        Ok(Left::More)
    }

    async fn prune_until_dry(&self) -> Result<u64> {
        let horizon = self.clock.now().saturating_sub(self.policy.feed_retention);
        let mut rows = 0;
        loop {
            match self.activity.prune(horizon).await? {
                0 => return Ok(rows),
                pruned => rows += pruned,
            }
        }
    }

    async fn report_stats(&self) {
        let Some(storage) = &self.storage else {
            return;
        };
        match storage.stats().await {
            Ok(stats) => self.set_gauges(&stats),
            Err(error) => log_failure(&error),
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a gauge is a float, and close enough"
    )]
    fn set_gauges(&self, stats: &Stats) {
        let age = stats.oldest_waiting.map_or(0, |oldest| {
            self.clock
                .now()
                .as_micros()
                .saturating_sub(oldest.as_micros())
                .max(0)
        });
        metrics::gauge!("pending_uploads_waiting_files").set(stats.waiting_files as f64);
        metrics::gauge!("pending_uploads_waiting_bytes").set(stats.waiting_bytes as f64);
        metrics::gauge!("pending_uploads_unswept_files").set(stats.unswept_files as f64);
        metrics::gauge!("pending_uploads_unswept_bytes").set(stats.unswept_bytes as f64);
        metrics::gauge!("pending_uploads_staged_files").set(stats.staged_files as f64);
        metrics::gauge!("pending_uploads_oldest_waiting_seconds").set(age as f64 / 1e6);
    }
}

fn log_swept(file: &SweptFile, took: Duration) {
    let reason = file.reason.as_str();
    metrics::counter!("pending_uploads_swept_total", "reason" => reason).increment(1);
    metrics::counter!("pending_uploads_swept_bytes_total", "reason" => reason)
        .increment(file.size_bytes);
    info!(
        workspace_id:% = file.workspace_id,
        file_id:% = file.file_id,
        size_bytes = file.size_bytes,
        filename = file.filename.as_ref().map_or("", |name| name.as_str()),
        reason = reason,
        duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        "swept"
    );
}

fn log_failure(error: &Error) {
    metrics::counter!("pending_uploads_failed_total", "operation" => "sweep").increment(1);
    error!(operation = "sweep", error:% = error.report(); "failed");
}
