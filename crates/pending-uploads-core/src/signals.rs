//! Wake-ups for those who wait for a feed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::{Activity, ActivityLog, ActivityQuery, FeedStart, Result, WorkspaceId};

/// Wakes the readers of a process that wait for a workspace's feed.
///
/// A signal is a hint: it says that it is worth looking, and a lost one only makes a reader late.
/// Readers subscribe *before* they look, so that a row that commits between their look and their
/// wait wakes them at once. Clones share their subscribers.
#[derive(Debug, Clone, Default)]
pub struct FeedSignals {
    feeds: Arc<Mutex<HashMap<WorkspaceId, watch::Sender<()>>>>,
}

impl FeedSignals {
    /// Starts without subscribers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wakes whoever waits for the feed of `workspace`.
    pub fn signal(&self, workspace: WorkspaceId) {
        if let Some(feed) = self.feeds().get(&workspace) {
            feed.send_replace(());
        }
    }

    /// Wakes everyone: hints may have been lost.
    pub fn signal_all(&self) {
        for feed in self.feeds().values() {
            feed.send_replace(());
        }
    }

    /// The workspaces whose feeds somebody waits for.
    pub fn waited_for(&self) -> Vec<WorkspaceId> {
        self.feeds().keys().copied().collect()
    }

    /// Registers an interest in the feed of `workspace`, until the answer is dropped.
    pub fn subscribe(&self, workspace: WorkspaceId) -> FeedSubscription {
        let receiver = self
            .feeds()
            .entry(workspace)
            .or_insert_with(|| watch::Sender::new(()))
            .subscribe();
        FeedSubscription {
            signals: self.clone(),
            workspace,
            receiver: Some(receiver),
        }
    }

    /// [`ActivityLog::wait`] for a feed whose writers signal here: subscribes, then lists until there
    /// is a row, or until `patience` is over: first at once, then after each signal. However many
    /// signals come, no look begins after that.
    ///
    /// # Errors
    /// Those of [`ActivityLog::list`], at once.
    pub async fn wait_for_rows(
        &self,
        feed: &dyn ActivityLog,
        workspace: WorkspaceId,
        query: &ActivityQuery,
        patience: Duration,
    ) -> Result<Vec<Activity>> {
        match query.start {
            FeedStart::Newest => return feed.list(workspace, query).await,
            FeedStart::After(_) | FeedStart::Oldest => {}
        }
        // One that cannot be told is never over.
        let deadline = Instant::now().checked_add(patience);
        let mut subscription = self.subscribe(workspace);
        loop {
            let rows = feed.list(workspace, query).await?;
            if !rows.is_empty() || !subscription.signalled_before(deadline).await {
                return Ok(rows);
            }
        }
    }

    /// A thread that panicked while it held the lock left the map whole: every use of it is one
    /// call.
    fn feeds(&self) -> MutexGuard<'_, HashMap<WorkspaceId, watch::Sender<()>>> {
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An interest in one workspace's feed.
#[derive(Debug)]
pub struct FeedSubscription {
    signals: FeedSignals,
    workspace: WorkspaceId,
    /// Taken by `drop`, so that the last one out is seen to be gone.
    receiver: Option<watch::Receiver<()>>,
}

impl FeedSubscription {
    /// Returns when there was a signal since the subscription or since the last return.
    pub async fn signalled(&mut self) {
        let closed = match &mut self.receiver {
            Some(receiver) => receiver.changed().await.is_err(),
            None => true,
        };
        if closed {
            std::future::pending::<()>().await;
        }
    }

    /// Whether there is a signal before `deadline`; none is never over. A signal that is there
    /// already does not put off the end.
    async fn signalled_before(&mut self, deadline: Option<Instant>) -> bool {
        let Some(deadline) = deadline else {
            self.signalled().await;
            return true;
        };
        Instant::now() < deadline && timeout_at(deadline, self.signalled()).await.is_ok()
    }
}

impl Drop for FeedSubscription {
    fn drop(&mut self) {
        let mut feeds = self.signals.feeds();
        drop(self.receiver.take());
        if feeds
            .get(&self.workspace)
            .is_some_and(watch::Sender::is_closed)
        {
            feeds.remove(&self.workspace);
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::{Error, NewActivity, Timestamp};

    /// How long a look at [`Busy`] takes.
    const LOOK: Duration = Duration::from_secs(1);

    /// A feed that gets a row during each look, and none that is looked for.
    struct Busy(FeedSignals);

    #[async_trait]
    impl ActivityLog for Busy {
        async fn append(&self, _: WorkspaceId, _: NewActivity) -> Result<Activity> {
            Err(Error::NotFound)
        }

        async fn list(&self, workspace: WorkspaceId, _: &ActivityQuery) -> Result<Vec<Activity>> {
            sleep(LOOK).await;
            self.0.signal(workspace);
            Ok(Vec::new())
        }

        async fn wait(
            &self,
            workspace: WorkspaceId,
            query: &ActivityQuery,
            patience: Duration,
        ) -> Result<Vec<Activity>> {
            self.0.wait_for_rows(self, workspace, query, patience).await
        }

        async fn prune(&self, _: Timestamp) -> Result<u64> {
            Err(Error::NotFound)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_feed_that_is_never_quiet_does_not_outlast_a_readers_patience() {
        let feed = Busy(FeedSignals::new());
        let query = ActivityQuery::from_start(FeedStart::Oldest);
        let begun = Instant::now();
        let waited = feed.wait(WorkspaceId::generate(), &query, 10 * LOOK);
        let rows = timeout(100 * LOOK, waited).await.unwrap().unwrap();
        assert_eq!((rows, begun.elapsed()), (Vec::new(), 10 * LOOK));
    }

    #[tokio::test(start_paused = true)]
    async fn a_patience_without_end_is_no_error() {
        let feed = Busy(FeedSignals::new());
        let query = ActivityQuery::from_start(FeedStart::Oldest);
        let waited = feed.wait(WorkspaceId::generate(), &query, Duration::MAX);
        assert!(timeout(100 * LOOK, waited).await.is_err(), "it waits on");
    }

    #[tokio::test]
    async fn a_signal_between_subscription_and_wait_is_not_lost() {
        let signals = FeedSignals::new();
        let workspace = WorkspaceId::generate();
        let mut subscription = signals.subscribe(workspace);
        signals.signal(workspace);
        subscription.signalled().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_signal_for_one_workspace_does_not_wake_another() {
        let signals = FeedSignals::new();
        let (one, other) = (WorkspaceId::generate(), WorkspaceId::generate());
        let mut subscription = signals.subscribe(one);
        signals.signal(other);
        let deadline = Instant::now() + Duration::from_hours(1);
        assert!(
            timeout_at(deadline, subscription.signalled())
                .await
                .is_err()
        );
        signals.signal_all();
        subscription.signalled().await;
    }

    #[test]
    fn nothing_is_kept_for_subscribers_that_are_gone() {
        let signals = FeedSignals::new();
        let workspace = WorkspaceId::generate();
        let (one, two) = (signals.subscribe(workspace), signals.subscribe(workspace));
        drop(one);
        assert_eq!(signals.waited_for(), [workspace]);
        drop(two);
        assert_eq!(signals.waited_for(), []);
    }
}
