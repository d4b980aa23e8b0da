//! The feed: [`ActivityLog`] in memory.

use std::time::Duration;

use async_trait::async_trait;

use super::{MemoryPlatform, give_way};
use crate::{
    Activity, ActivityLog, ActivityQuery, Error, NewActivity, Result, Timestamp, WorkspaceId,
};

/// The most rows that one step of a prune deletes.
const PRUNE_STEP_ROWS: u64 = 1000;

#[async_trait]
impl ActivityLog for MemoryPlatform {
    async fn append(&self, workspace: WorkspaceId, activity: NewActivity) -> Result<Activity> {
        give_way().await;
        let row = {
            let mut state = self.state();
            if !state.members.contains(workspace) {
                return Err(Error::UnknownWorkspace);
            }
            let now = self.now();
            state.feeds.append(workspace, activity, now)
        };
        self.signal(workspace);
        Ok(row)
    }

    async fn list(&self, workspace: WorkspaceId, query: &ActivityQuery) -> Result<Vec<Activity>> {
        give_way().await;
        self.state().feeds.list(workspace, query)
    }

    async fn wait(
        &self,
        workspace: WorkspaceId,
        query: &ActivityQuery,
        patience: Duration,
    ) -> Result<Vec<Activity>> {
        let signals = &self.shared.signals;
        signals
            .wait_for_rows(self, workspace, query, patience)
            .await
    }

    async fn prune(&self, horizon: Timestamp) -> Result<u64> {
        give_way().await;
        Ok(self.state().feeds.prune(horizon, PRUNE_STEP_ROWS))
    }
}
