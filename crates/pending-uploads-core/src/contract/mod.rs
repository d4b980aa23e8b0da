//! The contract suite: what every backend must do, one small function a clause.
//!
//! A backend implements [`Fixture`], which opens a fresh and empty store for each clause, and names
//! it once in its tests:
//!
//! ```
//! use std::sync::Arc;
//!
//! use async_trait::async_trait;
//! use pending_uploads_core::contract::{Fixture, Instance, Subject, Terms};
//! use pending_uploads_core::memory::MemoryPlatform;
//!
//! struct Memory;
//!
//! #[async_trait]
//! impl Fixture for Memory {
//!     async fn subject(&self, terms: Terms) -> Subject {
//!         let platform = MemoryPlatform::new(terms.clock.clone(), terms.ttl, terms.quota);
//!         let instance = Instance {
//!             storage: Arc::new(platform.clone()),
//!             activity: Arc::new(platform.clone()),
//!             workspaces: Arc::new(platform),
//!         };
//!         Subject::new(terms, instance.clone(), instance)
//!     }
//! }
//!
//! pending_uploads_core::contract_tests!(Memory);
//! # fn main() {}
//! ```
//!
//! [`contract_tests!`](crate::contract_tests) makes one test of each clause and is the only list of
//! them; a test of this crate holds that it leaves none out. The clauses stand in modules by
//! subject. Those that speak of an invariant of the architecture name it by its number.
//!
//! A clause panics when it does not hold. It waits for conditions, and [`hold`] ends a wait for one
//! that never comes; a duration decides nothing but the moment at which a call is cut off.
#![expect(
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unwrap_used,
    reason = "the clauses of a test suite panic when they do not hold"
)]
#![cfg_attr(
    not(test),
    expect(
        clippy::wildcard_imports,
        reason = "each module of clauses speaks the whole vocabulary of `support`"
    )
)]

#[macro_use]
mod support;
mod clauses;

pub mod abandonment;
pub mod ack;
pub mod batch;
pub mod cancellation;
pub mod expiry;
pub mod feed;
pub mod isolation;
pub mod listing;
pub mod long_feeds;
pub mod misuse;
pub mod moving;
pub mod pruning;
pub mod quota;
pub mod races;
pub mod reading;
pub mod sweep;
pub mod waiting;
pub mod workspaces;

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use self::clauses::CLAUSES;
use crate::{ActivityLog, ManualClock, Quota, Storage, Timestamp, Workspaces};

/// How long a clause may take before it is taken to hang: long enough for a slow and busy machine.
const WATCHDOG: Duration = Duration::from_mins(3);

/// Makes the stores that the clauses are tried on.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// Opens a fresh and empty store on these terms, with two instances of the platform on it.
    ///
    /// It may panic when it can't.
    async fn subject(&self, terms: Terms) -> Subject;
}

/// What a store under test is told when it is built. The lease of what it stages is to be that of
/// [`SweepPolicy::default`](crate::SweepPolicy::default).
#[derive(Debug, Clone)]
pub struct Terms {
    /// The clock that it must ask; the clause advances it.
    pub clock: Arc<ManualClock>,
    /// How long files live from their publication on.
    pub ttl: Duration,
    /// How much may wait for a workspace.
    pub quota: Quota,
}

/// A clock that stands at a moment of 2026, a day, and the default quota.
impl Default for Terms {
    fn default() -> Self {
        let start = Timestamp::from_micros(1_777_896_000_123_456);
        Self {
            clock: Arc::new(ManualClock::starting_at(start)),
            ttl: Duration::from_hours(24),
            quota: Quota::default(),
        }
    }
}

impl Terms {
    /// The default terms with another quota.
    pub fn with_quota(quota: Quota) -> Self {
        Self {
            quota,
            ..Self::default()
        }
    }
}

/// One instance of the platform: what one process of the server would hold.
#[derive(Clone)]
pub struct Instance {
    /// Its store of files.
    pub storage: Arc<dyn Storage>,
    /// Its feeds.
    pub activity: Arc<dyn ActivityLog>,
    /// Its workspaces.
    pub workspaces: Arc<dyn Workspaces>,
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").finish_non_exhaustive()
    }
}

/// What a clause is tried on: a fresh store, and two instances of the platform on it. Clones share
/// everything.
#[derive(Clone)]
pub struct Subject {
    /// The files, by the first instance.
    pub storage: Arc<dyn Storage>,
    /// The feeds, by the first instance.
    pub activity: Arc<dyn ActivityLog>,
    /// The workspaces, by the first instance.
    pub workspaces: Arc<dyn Workspaces>,
    /// The second instance: as another process of the server on the same store, or the first one
    /// again where a store can have only one.
    pub elsewhere: Instance,
    /// The clock of both.
    pub clock: Arc<ManualClock>,
    /// How long files live.
    pub ttl: Duration,
    /// How much may wait for a workspace.
    pub quota: Quota,
    guards: Vec<Arc<dyn Any + Send + Sync>>,
}

impl Subject {
    /// Two instances on one store, which was opened on `terms`.
    pub fn new(terms: Terms, here: Instance, elsewhere: Instance) -> Self {
        Self {
            storage: here.storage,
            activity: here.activity,
            workspaces: here.workspaces,
            elsewhere,
            clock: terms.clock,
            ttl: terms.ttl,
            quota: terms.quota,
            guards: Vec::new(),
        }
    }

    /// Keeps `guard` for as long as the subject lives: whatever must outlive the store.
    #[must_use]
    pub fn keeping(mut self, guard: impl Any + Send + Sync) -> Self {
        self.guards.push(Arc::new(guard));
        self
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("clock", &self.clock)
            .field("ttl", &self.ttl)
            .field("quota", &self.quota)
            .finish_non_exhaustive()
    }
}

/// Tries one clause, and panics when it takes three minutes: it waits for what never comes.
pub async fn hold(clause: impl Future<Output = ()>) {
    let ended = tokio::time::timeout(WATCHDOG, clause).await;
    assert!(ended.is_ok(), "the clause waits for what never comes");
}
