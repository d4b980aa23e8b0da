//! The registered workspaces.

use std::sync::Arc;

use async_trait::async_trait;
use pending_uploads_core::{
    CallbackUrl, Clock, Delivery, DeliveryMode, InboundSecret, KnownWorkspace, Registered,
    Registrar, Registration, Result, Timestamp, Token, TokenDigest, Workspace, WorkspaceId,
    Workspaces,
};
use rusqlite::{Connection, Row, params};

use crate::database::Database;
use crate::error::SqliteError;
use crate::rows::{Id, JsonText, Time};
use crate::writer::Promise;

const CREATE: &str = "INSERT INTO workspaces (id, delivery_mode, callback_url, agent_card, \
         inbound_secret, token_sha256, created_at, updated_at) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7) ON CONFLICT (id) DO NOTHING";
/// Of a workspace that was deleted rows may be left in the feed: numbers go on behind them. Where the
/// deletion did not heed foreign keys its counter is left, too.
const CREATE_COUNTER: &str = "INSERT INTO feed_counters (workspace_id, last_seq) \
     SELECT ?1, coalesce(max(seq), 0) FROM activity WHERE workspace_id = ?1 \
     ON CONFLICT (workspace_id) DO NOTHING";
const UPDATE: &str = "UPDATE workspaces SET \
         delivery_mode = coalesce(?2, delivery_mode), callback_url = coalesce(?3, callback_url), \
         agent_card = coalesce(?4, agent_card), updated_at = ?5 \
     WHERE id = ?1 RETURNING delivery_mode, inbound_secret";
const GET: &str = "SELECT delivery_mode, callback_url, inbound_secret, token_sha256 \
     FROM workspaces WHERE id = ?1";

/// [`Workspaces`] on SQLite. Clones share everything.
#[derive(Debug, Clone)]
pub struct SqliteWorkspaces {
    database: Database,
    clock: Arc<dyn Clock>,
}

impl SqliteWorkspaces {
    /// The workspaces in `database`.
    pub fn new(database: &Database, clock: Arc<dyn Clock>) -> Self {
        Self {
            database: database.clone(),
            clock,
        }
    }

    /// What a workspace's row says.
    async fn look_up(&self, id: WorkspaceId) -> Result<Option<KnownWorkspace>, SqliteError> {
        let work = move |connection: &Connection| {
            let mut get = connection.prepare_cached(GET)?;
            let mut found = get.query([Id(id.as_uuid())])?;
            let Some(row) = found.next()? else {
                return Ok(None);
            };
            let delivery = delivery(row)?;
            Ok(Some(KnownWorkspace {
                workspace: Workspace { id, delivery },
                token: TokenDigest::from_bytes(row.get("token_sha256")?),
            }))
        };
        self.database.readers().read(work).await
    }
}

#[async_trait]
impl Workspaces for SqliteWorkspaces {
    async fn register(
        &self,
        registration: Registration,
        registrar: Registrar,
    ) -> Result<Registered> {
        let fresh = (Token::generate()?, InboundSecret::generate()?);
        let now = self.clock.now();
        let id = registration.id;
        let work = move |connection: &Connection| {
            register(connection, &registration, registrar, fresh.clone(), now)
        };
        let database = self.database.clone();
        // What was known is forgotten, even when whoever asked has gone away.
        let written = async move {
            let registered = database.writer().write(Promise::Durable, work).await;
            database.known().forget(id);
            registered
        };
        Ok(self.database.run(written).await?)
    }

    async fn authenticate(
        &self,
        workspace: WorkspaceId,
        token: &Token,
    ) -> Result<Option<Workspace>> {
        let known = self.database.known();
        let looking_up = self.look_up(workspace);
        Ok(known.authenticate(workspace, token, looking_up).await?)
    }

    async fn get(&self, workspace: WorkspaceId) -> Result<Workspace> {
        let known = self.database.known();
        let known = known.find(workspace, self.look_up(workspace)).await?;
        Ok(known.ok_or(SqliteError::UnknownWorkspace)?.workspace)
    }
}

fn register(
    connection: &Connection,
    registration: &Registration,
    registrar: Registrar,
    (token, secret): (Token, InboundSecret),
    now: Timestamp,
) -> Result<Registered, SqliteError> {
    let id = Id(registration.id.as_uuid());
    let url = registration.url.as_ref().map(CallbackUrl::to_string);
    let card = registration.agent_card.as_ref().map(JsonText);
    let delivery_mode = registration.delivery_mode.unwrap_or(DeliveryMode::Push);
    let created = connection.prepare_cached(CREATE)?.execute(params![
        id,
        delivery_mode.as_str(),
        url,
        card,
        secret.expose(),
        token.digest().as_bytes(),
        Time(now)
    ])?;
    if created == 1 {
        connection.prepare_cached(CREATE_COUNTER)?.execute([id])?;
        return Ok(Registered::new(delivery_mode, Some(token), secret));
    }
    if !registrar.may_update(registration.id) {
        return Err(SqliteError::Unauthorized);
    }
    let mode = registration.delivery_mode.map(DeliveryMode::as_str);
    let mut update = connection.prepare_cached(UPDATE)?;
    let mut found = update.query(params![id, mode, url, card, Time(now)])?;
    let row = found.next()?.ok_or(SqliteError::UnknownWorkspace)?;
    Ok(Registered::new(
        stored_mode(row)?,
        None,
        stored_secret(row)?,
    ))
}

fn delivery(row: &Row<'_>) -> Result<Delivery, SqliteError> {
    Ok(Delivery::new(
        stored_mode(row)?,
        callback(row)?,
        stored_secret(row)?,
    ))
}

/// Reads where a workspace takes calls.
pub(crate) fn callback(row: &Row<'_>) -> Result<Option<CallbackUrl>, SqliteError> {
    let url: Option<String> = row.get("callback_url")?;
    url.map(|url| url.parse())
        .transpose()
        .map_err(|_| SqliteError::Damaged("a callback URL is none"))
}

/// Reads what a workspace knows us by.
pub(crate) fn stored_secret(row: &Row<'_>) -> Result<InboundSecret, SqliteError> {
    Ok(InboundSecret::restore(row.get("inbound_secret")?))
}

/// Reads how a workspace receives.
pub(crate) fn stored_mode(row: &Row<'_>) -> Result<DeliveryMode, SqliteError> {
    let mode: String = row.get("delivery_mode")?;
    mode.parse()
        .map_err(|_| SqliteError::Damaged("a delivery mode is none"))
}

#[cfg(test)]
mod tests {
    use pending_uploads_core::{ActivityLog, NewActivity, Seq, SystemClock};
    use serde_json::Value;

    use super::*;
    use crate::{SqliteActivityLog, testing};

    /// Deletes all workspaces, heeding foreign keys or not, and answers the numbers that two messages
    /// to one of them had, before and after it registered again.
    async fn numbers_across_a_deletion(foreign_keys: &'static str) -> [Seq; 2] {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).unwrap();
        let clock = Arc::new(SystemClock);
        let id = testing::workspace(&database, &clock).await;
        let feed = SqliteActivityLog::new(&database, clock.clone());
        let message = || NewActivity::message(id, "message/send", Value::Null);
        let before = feed.append(id, message()).await.unwrap();
        let outside = Connection::open(database.folder().database()).unwrap();
        let delete = format!("PRAGMA foreign_keys = {foreign_keys}; DELETE FROM workspaces");
        outside.execute_batch(&delete).unwrap();
        SqliteWorkspaces::new(&database, clock.clone())
            .register(Registration::polling(id), Registrar::Anonymous)
            .await
            .unwrap();
        let after = feed.append(id, message()).await.unwrap();
        [before.seq, after.seq]
    }

    #[tokio::test]
    async fn a_workspace_that_was_deleted_and_registers_again_goes_on_in_its_old_feed() {
        assert_eq!(numbers_across_a_deletion("ON").await, [1, 2].map(Seq));
        assert_eq!(numbers_across_a_deletion("OFF").await, [1, 2].map(Seq));
    }
}
