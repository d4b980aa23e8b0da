//! PostgreSQL keeps every clause of the contract, with two instances of the platform on one
//! database.

use std::sync::Arc;

use async_trait::async_trait;
use pending_uploads_core::contract::{Fixture, Instance, Subject, Terms};
use pending_uploads_pg::{PgActivityLog, PgStorage, PgWorkspaces, StorageConfig};
use pg_cluster::TestDatabase;

struct Postgres;

#[async_trait]
impl Fixture for Postgres {
    async fn subject(&self, terms: Terms) -> Subject {
        let database = crate::support::migrated().await;
        let (here, elsewhere) = (instance(&database, &terms), instance(&database, &terms));
        Subject::new(terms, here, elsewhere).keeping(database)
    }
}

fn instance(database: &TestDatabase, terms: &Terms) -> Instance {
    let database = crate::support::connect(database);
    let config = StorageConfig {
        ttl: terms.ttl,
        quota: terms.quota,
        ..StorageConfig::default()
    };
    Instance {
        storage: Arc::new(PgStorage::new(&database, config, terms.clock.clone())),
        activity: Arc::new(PgActivityLog::new(&database, terms.clock.clone())),
        workspaces: Arc::new(PgWorkspaces::new(&database, terms.clock.clone())),
    }
}

pending_uploads_core::contract_tests!(Postgres);
