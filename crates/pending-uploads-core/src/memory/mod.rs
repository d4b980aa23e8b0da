//! A platform that lives in memory: for people's tests, and for the contract suite to be honest
//! about itself.
//!
//! [`MemoryPlatform`] keeps every clause of [`Storage`](crate::Storage),
//! [`ActivityLog`](crate::ActivityLog) and [`Workspaces`](crate::Workspaces) but two: nothing
//! outlives the process, and it takes as much memory as there are bytes waiting. It is not meant
//! to serve anybody. What it does keep is the time to live, the quota, the feed's numbering, the
//! staging of bytes in bursts and the lease of a batch that falls silent, so that a test may let a
//! day pass on a [`ManualClock`](crate::ManualClock) and see what a workspace would see.
//!
//! Every call that reads or changes what is stored gives way to the runtime first, as a store
//! behind a network does: a test that drops a future half-way, or polls it only once, meets what it
//! would meet there.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use pending_uploads_core::memory::MemoryPlatform;
//! use pending_uploads_core::{
//!     Filename, Mimetype, Quota, Registrar, Registration, StorageExt, SystemClock,
//!     WorkspaceId, Workspaces,
//! };
//!
//! # async fn example() -> pending_uploads_core::Result<()> {
//! let day = Duration::from_hours(24);
//! let platform = MemoryPlatform::new(Arc::new(SystemClock), day, Quota::default());
//! let workspace = WorkspaceId::generate();
//! let registration = Registration::polling(workspace);
//! platform.register(registration, Registrar::Admin).await?;
//!
//! let name = Filename::sanitize("notes.txt");
//! let upload = platform.stage(workspace, name, Mimetype::absent(), b"hello").await?;
//! assert_eq!(platform.read_whole(workspace, upload.file_id, 1024).await?, b"hello");
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(example()).unwrap();
//! ```

mod activity;
mod batch;
mod feeds;
mod files;
mod members;
mod staging;
mod storage;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::{Clock, FeedSignals, Quota, Timestamp, WorkspaceId};

use self::feeds::Feeds;
use self::files::Files;
use self::members::Members;
use self::staging::Staging;

/// A whole platform in memory. Clones are cheap and share everything.
#[derive(Clone)]
pub struct MemoryPlatform {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    signals: FeedSignals,
    clock: Arc<dyn Clock>,
    ttl: Duration,
    quota: Quota,
}

/// All that is stored. Its one lock is what makes a publish, an ack and a step of a sweep atomic;
/// it is never held while something is awaited.
#[derive(Default)]
struct State {
    members: Members,
    files: Files,
    staging: Staging,
    feeds: Feeds,
}

impl MemoryPlatform {
    /// An empty platform, whose files live for `ttl` from their publication by `clock`, and where
    /// each workspace may have waiting what `quota` allows.
    pub fn new(clock: Arc<dyn Clock>, ttl: Duration, quota: Quota) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::default(),
                signals: FeedSignals::new(),
                clock,
                ttl,
                quota,
            }),
        }
    }

    /// The agent card that a workspace last registered with; for assertions in tests, because the
    /// traits only ever store it.
    pub fn agent_card(&self, workspace: WorkspaceId) -> Option<Value> {
        self.state().members.agent_card(workspace)
    }

    /// A thread that panicked while it held the lock is a test that has failed already, and it
    /// should not take the others with it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    fn signal(&self, workspace: WorkspaceId) {
        self.shared.signals.signal(workspace);
    }
}

impl fmt::Debug for MemoryPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryPlatform")
            .field("ttl", &self.shared.ttl)
            .field("quota", &self.shared.quota)
            .finish_non_exhaustive()
    }
}

/// Gives way to the runtime once, as a call to a store behind a network would.
async fn give_way() {
    tokio::task::yield_now().await;
}
