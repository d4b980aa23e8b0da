//! SQLite keeps every clause of the contract. Only one process may open a data folder, so that both
//! instances of a clause are the same one.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use async_trait::async_trait;
use pending_uploads_core::contract::{Fixture, Instance, Subject, Terms};
use pending_uploads_sqlite::{
    Database, SqliteActivityLog, SqliteStorage, SqliteWorkspaces, StorageConfig,
};

struct Sqlite;

#[async_trait]
impl Fixture for Sqlite {
    async fn subject(&self, terms: Terms) -> Subject {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).unwrap();
        let config = StorageConfig {
            ttl: terms.ttl,
            quota: terms.quota,
            ..StorageConfig::default()
        };
        let instance = Instance {
            storage: Arc::new(SqliteStorage::new(&database, config, terms.clock.clone())),
            activity: Arc::new(SqliteActivityLog::new(&database, terms.clock.clone())),
            workspaces: Arc::new(SqliteWorkspaces::new(&database, terms.clock.clone())),
        };
        Subject::new(terms, instance.clone(), instance).keeping(folder)
    }
}

pending_uploads_core::contract_tests!(Sqlite);
