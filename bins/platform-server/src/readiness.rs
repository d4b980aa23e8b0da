//! Whether the server can serve: whether its store can be asked.

use std::time::Duration;

use async_trait::async_trait;
use pending_uploads_pg::SchemaPart;
use tokio::time::timeout;
use upload_http::{NotReady, Readiness};

/// How long the store may take to answer a probe.
const PATIENCE: Duration = Duration::from_secs(2);

/// The readiness of a server on PostgreSQL.
#[derive(Debug)]
pub(crate) struct PostgresReadiness(pub(crate) pending_uploads_pg::Database);

#[async_trait]
impl Readiness for PostgresReadiness {
    async fn check(&self) -> Result<(), NotReady> {
        let reason = match timeout(PATIENCE, self.0.schema()).await {
            Ok(Ok(schema)) if schema.base == SchemaPart::Ready => return Ok(()),
            Ok(Ok(_)) => "the database lacks the platform's tables".to_owned(),
            Ok(Err(error)) => error.report().to_string(),
            Err(_) => "the database does not answer".to_owned(),
        };
        Err(NotReady { reason })
    }
}

/// The readiness of a server on SQLite.
#[derive(Debug)]
pub(crate) struct SqliteReadiness(pub(crate) pending_uploads_sqlite::Database);

#[async_trait]
impl Readiness for SqliteReadiness {
    async fn check(&self) -> Result<(), NotReady> {
        let reason = match timeout(PATIENCE, self.0.check()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.report().to_string(),
            Err(_) => "the data folder does not answer".to_owned(),
        };
        Err(NotReady { reason })
    }
}
