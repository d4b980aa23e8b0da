//! A batch that has stored two bursts, for the tests of what becomes of it.

use std::sync::Arc;

use pending_uploads_core::{
    Batch, Filename, ManualClock, Mimetype, Result, Storage, Timestamp, WorkspaceId,
};
use pending_uploads_pg::{Database, DatabaseConfig, PgActivityLog, PgStorage, StorageConfig};
use pg_cluster::TestDatabase;
use tokio_postgres::Client;

use crate::support::{self, until};

/// What is stored at once, in bytes.
pub(crate) const BURST: usize = 192_000;

/// Where a batch has stored two bursts, at a time that stands still.
pub(crate) struct Staged {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) files: PgStorage,
    pub(crate) feed: PgActivityLog,
    pub(crate) workspace: WorkspaceId,
    pub(crate) db: Client,
    pub(crate) test_database: TestDatabase,
}

impl Staged {
    /// The batch has its file open.
    pub(crate) async fn two_bursts() -> (Self, Box<dyn Batch>) {
        Self::two_bursts_by(|url| DatabaseConfig::parse(url).unwrap()).await
    }

    /// The same, by the configuration that `config` makes of the database's URL.
    pub(crate) async fn two_bursts_by(
        config: impl FnOnce(&str) -> DatabaseConfig,
    ) -> (Self, Box<dyn Batch>) {
        let test_database = support::migrated().await;
        let db = support::db_client(&test_database).await;
        let database = Database::connect(&config(&test_database.url())).unwrap();
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_micros(0)));
        let workspace = support::register(&database, clock.clone()).await;
        let files = PgStorage::new(&database, StorageConfig::default(), clock.clone());
        let mut batch = files.begin(workspace).await.unwrap();
        let name = Filename::sanitize("report.pdf");
        batch.start_file(name, Mimetype::absent()).await.unwrap();
        batch.write(&vec![7; 2 * BURST]).await.unwrap();
        let it = Self {
            files,
            feed: PgActivityLog::new(&database, clock.clone()),
            clock,
            workspace,
            db,
            test_database,
        };
        until("two bursts are stored", async || {
            it.db_number("SELECT coalesce(max(bursts), 0) FROM staged_batches")
                .await
                == 2
        })
        .await;
        (it, batch)
    }

    pub(crate) async fn db_number(&self, sql: &str) -> i64 {
        self.db.query_one(sql, &[]).await.unwrap().get(0)
    }
}

/// Ends the file, and publishes it.
pub(crate) async fn publish(mut batch: Box<dyn Batch>) -> Result<()> {
    batch.finish_file().await?;
    batch.publish().await.map(drop)
}
