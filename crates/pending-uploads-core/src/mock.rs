//! mockall mocks of every trait, for tests of code that uses them.

use std::time::Duration;

use async_trait::async_trait;
use mockall::mock;

use crate::{
    Acked, Activity, ActivityLog, ActivityQuery, Batch, ByteRange, ByteStream, FileId, Filename,
    ListAfter, Mimetype, NewActivity, PendingUpload, Registered, Registrar, Registration, Result,
    StagedFile, Stats, Storage, SweepPolicy, Swept, Timestamp, Token, Workspace, WorkspaceId,
    Workspaces,
};

mock! {
    /// A mock of [`Storage`]. Its provided methods are as they are provided: they ask the mocked ones.
    #[derive(Debug)]
    pub Storage {}

    #[async_trait]
    impl Storage for Storage {
        async fn begin(&self, workspace: WorkspaceId) -> Result<Box<dyn Batch>>;
        async fn get(&self, workspace: WorkspaceId, file: FileId) -> Result<PendingUpload>;
        async fn read(
            &self,
            workspace: WorkspaceId,
            file: FileId,
            range: ByteRange,
        ) -> Result<ByteStream>;
        async fn mark_fetched(&self, workspace: WorkspaceId, file: FileId) -> Result<()>;
        async fn ack(&self, workspace: WorkspaceId, file: FileId) -> Result<Acked>;
        async fn list(
            &self,
            workspace: WorkspaceId,
            after: Option<ListAfter>,
            limit: u32,
        ) -> Result<Vec<PendingUpload>>;
        async fn sweep(&self, policy: &SweepPolicy) -> Result<Swept>;
        async fn stats(&self) -> Result<Stats>;
    }
}

mock! {
    /// A mock of [`Batch`].
    #[derive(Debug)]
    pub Batch {}

    #[async_trait]
    impl Batch for Batch {
        async fn start_file(&mut self, filename: Filename, mimetype: Mimetype) -> Result<FileId>;
        async fn write(&mut self, data: &[u8]) -> Result<()>;
        async fn finish_file(&mut self) -> Result<StagedFile>;
        async fn show_life(&mut self) -> Result<()>;
        async fn publish(self: Box<Self>) -> Result<Vec<PendingUpload>>;
    }
}

mock! {
    /// A mock of [`ActivityLog`].
    #[derive(Debug)]
    pub ActivityLog {}

    #[async_trait]
    impl ActivityLog for ActivityLog {
        async fn append(&self, workspace: WorkspaceId, activity: NewActivity) -> Result<Activity>;
        async fn list(
            &self,
            workspace: WorkspaceId,
            query: &ActivityQuery,
        ) -> Result<Vec<Activity>>;
        async fn wait(
            &self,
            workspace: WorkspaceId,
            query: &ActivityQuery,
            patience: Duration,
        ) -> Result<Vec<Activity>>;
        async fn prune(&self, horizon: Timestamp) -> Result<u64>;
    }
}

mock! {
    /// A mock of [`Workspaces`].
    #[derive(Debug)]
    pub Workspaces {}

    #[async_trait]
    impl Workspaces for Workspaces {
        async fn register(
            &self,
            registration: Registration,
            registrar: Registrar,
        ) -> Result<Registered>;
        async fn authenticate(
            &self,
            workspace: WorkspaceId,
            token: &Token,
        ) -> Result<Option<Workspace>>;
        async fn get(&self, workspace: WorkspaceId) -> Result<Workspace>;
    }
}
