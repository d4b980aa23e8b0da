//! Databases for this crate's tests: migrated once for each test program, and copied for each test.

use std::sync::Arc;
use std::time::Duration;

use pending_uploads_core::{Clock, Registrar, Registration, WorkspaceId, Workspaces};
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
    let registration = Registration::polling(id);
    let workspaces = PgWorkspaces::new(database, clock);
    workspaces
        .register(registration, Registrar::Anonymous)
        .await
        .unwrap();
    id
}

/// Ends every connection to the database but the one that asks.
pub(crate) async fn db_cut_connections(db: &tokio_postgres::Client) {
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid()";
    db.execute(cut, &[]).await.unwrap();
}

/// How many connections to the database wait for what another one has locked.
pub(crate) async fn db_who_wait_for_locks(db: &tokio_postgres::Client) -> i64 {
    // Within a transaction, which connections there are is else what it was at the first look.
    let look_anew = "SELECT pg_stat_clear_snapshot()";
    db.batch_execute(look_anew).await.unwrap();
    let count = "SELECT count(*) FROM pg_stat_activity \
         WHERE datname = current_database() AND wait_event_type = 'Lock'";
    db.query_one(count, &[]).await.unwrap().get(0)
}

/// How often a condition is looked at before a test gives up on it.
const TRIES: usize = 2000;

/// Looks until the condition holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..TRIES {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never came: {what}");
}
