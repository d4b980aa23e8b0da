//! Databases for this crate's tests: migrated once for each test program, and copied for each test.

use std::sync::Arc;

use pending_uploads_core::{Clock, DeliveryMode, Registrar, Registration, WorkspaceId, Workspaces};
use pending_uploads_pg::{Database, DatabaseConfig, PgWorkspaces, migrate};
use pg_cluster::TestDatabase;
use tokio::sync::OnceCell;

static TEMPLATE: OnceCell<TestDatabase> = OnceCell::const_new();

/// A fresh database with the whole schema.
pub(crate) async fn migrated() -> TestDatabase {
    let template = TEMPLATE
        .get_or_init(|| async {
            let template = TestDatabase::create();
            migrate::up(&connect(&template)).await.unwrap();
            template
        })
        .await;
    template.copy()
}

/// A pool on it.
pub(crate) fn connect(database: &TestDatabase) -> Database {
    let config = DatabaseConfig::parse(&database.url()).unwrap();
    Database::connect(&config).unwrap()
}

/// A plain connection to it, for looking behind the scenes.
pub(crate) async fn db_client(database: &TestDatabase) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(&database.url(), tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

/// Registers a workspace that polls.
pub(crate) async fn register(database: &Database, clock: Arc<dyn Clock>) -> WorkspaceId {
    let id = WorkspaceId::generate();
    let delivery_mode = Some(DeliveryMode::Poll);
    let registration = Registration {
        id,
        delivery_mode,
        url: None,
        agent_card: None,
    };
    let workspaces = PgWorkspaces::new(database, clock);
    workspaces
        .register(registration, Registrar::Anonymous)
        .await
        .unwrap();
    id
}
