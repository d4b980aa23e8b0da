//! What a process remembers of workspaces, and how soon it hears that they were changed.

use std::sync::Arc;

use pending_uploads_core::{
    DeliveryMode, Registrar, Registration, SystemClock, Token, WorkspaceId, Workspaces,
};
use pending_uploads_pg::PgWorkspaces;
use pg_cluster::TestDatabase;
use tokio_postgres::Client;

use crate::support::{self, until};

/// A workspace that two processes know.
struct Known {
    here: PgWorkspaces,
    elsewhere: PgWorkspaces,
    id: WorkspaceId,
    token: Token,
    db: Client,
    _test_database: TestDatabase,
}

impl Known {
    /// `db` prepares the database before anybody is connected.
    async fn prepared_by(sql: &str) -> Self {
        let test_database = support::migrated().await;
        let db = support::db_client(&test_database).await;
        db.batch_execute(sql).await.unwrap();
        let process = || {
            let database = support::connect(&test_database);
            PgWorkspaces::new(&database, Arc::new(SystemClock))
        };
        let (here, elsewhere) = (process(), process());
        let registration = Registration {
            id: WorkspaceId::generate(),
            delivery_mode: Some(DeliveryMode::Poll),
            url: None,
            agent_card: None,
        };
        let id = registration.id;
        let registered = here.register(registration, Registrar::Anonymous).await;
        Self {
            here,
            elsewhere,
            id,
            token: registered.unwrap().auth_token.unwrap(),
            db,
            _test_database: test_database,
        }
    }

    async fn new() -> Self {
        Self::prepared_by("").await
    }

    async fn pass(&self, workspaces: &PgWorkspaces, token: &Token) -> bool {
        let seen = workspaces.authenticate(self.id, token).await.unwrap();
        seen.is_some()
    }

    /// Both processes remember it; how they learn of changes they have seen by then.
    async fn look_up(&self) {
        for process in [&self.here, &self.elsewhere] {
            assert!(self.pass(process, &self.token).await);
        }
    }

    /// At the database's own prompt.
    async fn db_replace_token(&self) -> Token {
        let token = Token::generate().unwrap();
        let sql = "UPDATE workspaces SET token_sha256 = $1 WHERE id = $2";
        let digest = token.digest();
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 2] =
            [&digest.as_bytes().as_slice(), &self.id.as_uuid()];
        assert_eq!(self.db.execute(sql, &params).await.unwrap(), 1);
        token
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_replaced_is_soon_refused_by_every_process() {
    let it = Known::new().await;
    it.look_up().await;
    let fresh = it.db_replace_token().await;
    for process in [&it.here, &it.elsewhere] {
        // The new one is looked up, whatever is remembered.
        assert!(it.pass(process, &fresh).await);
        until("the old token is refused", async || {
            !it.pass(process, &it.token).await
        })
        .await;
        assert!(it.pass(process, &fresh).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_that_was_deleted_is_soon_unknown_to_every_process() {
    let it = Known::new().await;
    it.look_up().await;
    it.db.batch_execute("DELETE FROM workspaces").await.unwrap();
    for process in [&it.here, &it.elsewhere] {
        until("the workspace is unknown", async || {
            !it.pass(process, &it.token).await
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_nobody_tells_of_changes_remembers_nothing() {
    let it = Known::prepared_by("DROP TRIGGER workspaces_changed ON workspaces").await;
    it.look_up().await;
    it.db_replace_token().await;
    for process in [&it.here, &it.elsewhere] {
        assert!(!it.pass(process, &it.token).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_was_made_while_nobody_listened_is_seen() {
    let it = Known::new().await;
    it.look_up().await;
    it.db
        .batch_execute("ALTER TABLE workspaces DISABLE TRIGGER workspaces_changed")
        .await
        .unwrap();
    it.db_replace_token().await;
    support::db_cut_connections(&it.db).await;
    for process in [&it.here, &it.elsewhere] {
        until("the old token is refused", async || {
            !it.pass(process, &it.token).await
        })
        .await;
    }
}
