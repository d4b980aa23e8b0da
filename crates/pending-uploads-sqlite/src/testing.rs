//! What the tests of several modules begin with.

use std::sync::Arc;

use pending_uploads_core::{Clock, Registrar, Registration, WorkspaceId, Workspaces};

use crate::{Database, SqliteWorkspaces};

/// Registers a workspace that polls.
pub(crate) async fn workspace(
    database: &Database,
    clock: &Arc<impl Clock + 'static>,
) -> WorkspaceId {
    let id = WorkspaceId::generate();
    let registration = Registration::polling(id);
    SqliteWorkspaces::new(database, clock.clone())
        .register(registration, Registrar::Anonymous)
        .await
        .unwrap();
    id
}
