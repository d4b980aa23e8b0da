//! The registered workspaces.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use pending_uploads_core::{
    CallbackUrl, Clock, Delivery, DeliveryMode, Error, InboundSecret, KnownWorkspace, Registered,
    Registrar, Registration, Result, Token, TokenDigest, Workspace, WorkspaceId, Workspaces,
};
use tokio_postgres::Row;

use crate::database::Database;
use crate::error::PgError;
use crate::rows;

/// Creates a workspace and its feed's counter together; one that exists is left as it is. Of one that
/// was deleted rows may be left in the feed: numbers go on behind them.
const CREATE: &str = "WITH created AS ( \
         INSERT INTO workspaces (id, delivery_mode, callback_url, agent_card, inbound_secret, \
             token_sha256, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7) ON CONFLICT (id) DO NOTHING RETURNING id \
     ), counter AS ( \
         INSERT INTO feed_counters (workspace_id, last_seq) SELECT fresh.id, coalesce( \
             (SELECT max(seq) FROM activity WHERE workspace_id = fresh.id), 0) \
         FROM created AS fresh \
     ) SELECT id FROM created";

const UPDATE: &str = "UPDATE workspaces SET \
         delivery_mode = coalesce($2, delivery_mode), callback_url = coalesce($3, callback_url), \
         agent_card = coalesce($4, agent_card), updated_at = $5 \
     WHERE id = $1 RETURNING delivery_mode, inbound_secret";

const GET: &str = "SELECT delivery_mode, callback_url, inbound_secret, token_sha256 \
     FROM workspaces WHERE id = $1";

/// [`Workspaces`] on PostgreSQL. Clones share everything.
#[derive(Debug, Clone)]
pub struct PgWorkspaces {
    database: Database,
    clock: Arc<dyn Clock>,
}

impl PgWorkspaces {
    /// The workspaces in `database`.
    pub fn new(database: &Database, clock: Arc<dyn Clock>) -> Self {
        Self {
            database: database.clone(),
            clock,
        }
    }

    /// What a workspace's row says.
    async fn look_up(&self, id: WorkspaceId) -> Result<Option<KnownWorkspace>, PgError> {
        let rows = self.database.query(GET, &[&id.as_uuid()]).await?;
        let known = |row| {
            let delivery = delivery(row)?;
            Ok(KnownWorkspace {
                workspace: Workspace { id, delivery },
                token: token_digest(row)?,
            })
        };
        rows.first().map(known).transpose()
    }
}

#[async_trait]
impl Workspaces for PgWorkspaces {
    async fn register(
        &self,
        registration: Registration,
        registrar: Registrar,
    ) -> Result<Registered> {
        let now = SystemTime::from(self.clock.now());
        if let Some(created) = create(&self.database, &registration, now).await? {
            return Ok(created);
        }
        if !registrar.may_update(registration.id) {
            return Err(Error::Unauthorized);
        }
        let updated = update(&self.database, &registration, now).await;
        // Other instances are told by the database, and this one before whoever asked is.
        self.database.known().forget(registration.id);
        Ok(updated?)
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
        Ok(known.ok_or(Error::UnknownWorkspace)?.workspace)
    }
}

/// Creates the workspace; answers none when it exists.
async fn create(
    database: &Database,
    registration: &Registration,
    now: SystemTime,
) -> Result<Option<Registered>> {
    let (token, secret) = (Token::generate()?, InboundSecret::generate()?);
    let delivery_mode = registration.delivery_mode.unwrap_or(DeliveryMode::Push);
    let created = database
        .query_once(
            CREATE,
            &[
                &registration.id.as_uuid(),
                &delivery_mode.as_str(),
                &callback(registration),
                &registration.agent_card,
                &secret.expose(),
                &token.digest().as_bytes().as_slice(),
                &now,
            ],
        )
        .await?;
    Ok(created
        .first()
        .map(|_| Registered::new(delivery_mode, Some(token), secret)))
}

async fn update(
    database: &Database,
    registration: &Registration,
    now: SystemTime,
) -> Result<Registered, PgError> {
    let mode = registration.delivery_mode.map(DeliveryMode::as_str);
    let rows = database
        .query(
            UPDATE,
            &[
                &registration.id.as_uuid(),
                &mode,
                &callback(registration),
                &registration.agent_card,
                &now,
            ],
        )
        .await?;
    let row = rows.first().ok_or(PgError::UnknownWorkspace)?;
    Ok(Registered::new(
        stored_mode(row)?,
        None,
        stored_secret(row)?,
    ))
}

fn callback(registration: &Registration) -> Option<String> {
    registration.url.as_ref().map(CallbackUrl::to_string)
}

fn delivery(row: &Row) -> Result<Delivery, PgError> {
    Ok(Delivery::new(
        stored_mode(row)?,
        stored_callback(row)?,
        stored_secret(row)?,
    ))
}

/// Reads where a workspace takes calls.
pub(crate) fn stored_callback(row: &Row) -> Result<Option<CallbackUrl>, PgError> {
    let url: Option<&str> = rows::column(row, "callback_url")?;
    url.map(str::parse)
        .transpose()
        .map_err(|_| PgError::Damaged("a callback URL is none"))
}

/// Reads what a workspace knows us by.
pub(crate) fn stored_secret(row: &Row) -> Result<InboundSecret, PgError> {
    Ok(InboundSecret::restore(rows::column(row, "inbound_secret")?))
}

/// Reads how a workspace receives.
pub(crate) fn stored_mode(row: &Row) -> Result<DeliveryMode, PgError> {
    rows::column::<&str>(row, "delivery_mode")?
        .parse()
        .map_err(|_| PgError::Damaged("a delivery mode is none"))
}

/// Reads what is stored of a workspace's token.
pub(crate) fn token_digest(row: &Row) -> Result<TokenDigest, PgError> {
    rows::column::<&[u8]>(row, "token_sha256")?
        .try_into()
        .map(TokenDigest::from_bytes)
        .map_err(|_| PgError::Damaged("a token's digest is not 32 bytes long"))
}
