//! What a process remembers of workspaces, and how soon it hears that they were changed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pending_uploads_core::{Registrar, Registration, SystemClock, Token, WorkspaceId, Workspaces};
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
    /// The statement prepares the database before anybody is connected. Both processes listen, as far
    /// as they ever do.
    async fn prepared_by(sql: &str) -> Self {
        let test_database = support::migrated().await;
        let db = support::db_client(&test_database).await;
        db.batch_execute(sql).await.unwrap();
        let process = || {
            let database = support::connect(&test_database);
            PgWorkspaces::new(&database, Arc::new(SystemClock))
        };
        let (here, elsewhere) = (process(), process());
        // The last that a listener does before it waits is to prepare its own hints.
        let listening = "SELECT count(*) FROM pg_stat_activity \
             WHERE datname = current_database() AND query LIKE 'SELECT pg_notify%'";
        until("both processes listen", async || {
            db.query_one(listening, &[]).await.unwrap().get::<_, i64>(0) == 2
        })
        .await;
        let registration = Registration::polling(WorkspaceId::generate());
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

    async fn pass(&self, workspaces: &PgWorkspaces, token: &Token) -> bool {
        let seen = workspaces.authenticate(self.id, token).await.unwrap();
        seen.is_some()
    }

    /// At the database's own prompt.
    async fn db_replace_token(&self) {
        let sql = "UPDATE workspaces SET token_sha256 = $1 WHERE id = $2";
        let digest = Token::generate().unwrap().digest();
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 2] =
            [&digest.as_bytes().as_slice(), &self.id.as_uuid()];
        assert_eq!(self.db.execute(sql, &params).await.unwrap(), 1);
    }

    /// As a change of which nobody is told.
    async fn db_replace_token_in_silence(&self) {
        let role = |role| format!("SET session_replication_role = {role}");
        self.db.batch_execute(&role("replica")).await.unwrap();
        self.db_replace_token().await;
        self.db.batch_execute(&role("origin")).await.unwrap();
    }
}

/// For how long a process remembers a workspace of which it is told nothing.
const REMEMBERED: Duration = Duration::from_secs(5);

/// Asserts that both processes remember a workspace, and forget it when it is changed, before it would
/// be forgotten anyway. A machine that stands still meanwhile shows neither, and is asked again.
async fn is_forgotten(change: impl AsyncFn(&Known)) {
    for _ in 0..5 {
        let it = Known::prepared_by("").await;
        let looked_up = Instant::now();
        for process in [&it.here, &it.elsewhere] {
            assert!(it.pass(process, &it.token).await);
        }
        it.db_replace_token_in_silence().await;
        let remembered =
            it.pass(&it.here, &it.token).await && it.pass(&it.elsewhere, &it.token).await;
        change(&it).await;
        for process in [&it.here, &it.elsewhere] {
            until("the token is refused", async || {
                !it.pass(process, &it.token).await
            })
            .await;
        }
        if remembered && looked_up.elapsed() < REMEMBERED {
            return;
        }
    }
    panic!("what was changed was not remembered, or not forgotten for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_replaced_is_soon_refused_by_every_process() {
    is_forgotten(Known::db_replace_token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_that_was_deleted_is_soon_unknown_to_every_process() {
    is_forgotten(async |it: &Known| {
        let delete = "DELETE FROM workspaces";
        it.db.batch_execute(delete).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_was_made_while_nobody_listened_is_seen() {
    // The change was made in silence; that the connections are gone is all that is heard.
    is_forgotten(async |it: &Known| support::db_cut_connections(&it.db).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_nobody_tells_of_changes_remembers_nothing() {
    let it = Known::prepared_by("DROP TRIGGER workspaces_changed ON workspaces").await;
    for process in [&it.here, &it.elsewhere] {
        assert!(it.pass(process, &it.token).await);
    }
    it.db_replace_token().await;
    for process in [&it.here, &it.elsewhere] {
        assert!(!it.pass(process, &it.token).await);
    }
}
