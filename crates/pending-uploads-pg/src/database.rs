//! The connection pool, and the runtime that drives it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{
    Connect, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pending_uploads_core::{FeedSignals, KnownWorkspaces, PassedOver, Result, Timestamp};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Row};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::AbortOnDropHandle;

use crate::config::{ConfigError, DatabaseConfig};
use crate::error::PgError;
use crate::hints::{Hints, Remembered};
use crate::rows;

/// How long a caller waits for a connection before it is told that the store is unavailable.
pub(crate) const POOL_WAIT: Duration = Duration::from_secs(10);
/// How long making one may take, every address and the TLS handshake tried.
pub(crate) const POOL_CREATE: Duration = Duration::from_secs(10);

/// How long to pause before a statement whose connection was lost is sent again.
const LOST_PAUSES: [Duration; 3] = [
    Duration::from_millis(1),
    Duration::from_millis(10),
    Duration::from_millis(100),
];

/// Sent on each new connection: what a 200 promised must survive a crash, whatever the server's own
/// default is, and whatever it becomes. A session that has set its own value keeps it.
const DURABLE_SESSION: &str = "SELECT set_config('synchronous_commit', \
     coalesce(nullif(current_setting('synchronous_commit'), 'off'), 'on'), false)";

const SERVER: &str = "SELECT current_setting('server_version') AS version, \
     clock_timestamp() AS time, pg_database_size(current_database()) AS database_bytes";

const SCHEMA: &str = "SELECT \
     to_regclass('workspaces') IS NOT NULL AND to_regclass('feed_counters') IS NOT NULL \
         AND to_regclass('activity') IS NOT NULL AS base, \
     to_regclass('pending_uploads') IS NOT NULL \
         AND to_regclass('pending_upload_chunks') IS NOT NULL \
         AND to_regclass('staged_batches') IS NOT NULL \
         AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('feed_counters') \
             AND attname = 'waiting_files') AS uploads";

/// A database that the traits are implemented on. Clones share one pool.
///
/// Connections live on the runtime that [`connect`](Self::connect) was called in, and so does all
/// work that must not be cut off half-way: a request's future may be dropped on its own thread at
/// any time, and no transaction stays open because of it.
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool,
    /// As many as may wait for the lock of a feed at once, each with a connection.
    at_feeds: Arc<Semaphore>,
    runtime: Handle,
    signals: FeedSignals,
    hints: Hints,
    known: KnownWorkspaces,
    passed_over: PassedOver,
    connector: Connector,
    postgres: Config,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("pool", &self.inner.pool.status())
            .finish_non_exhaustive()
    }
}

/// Which tables are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schema {
    /// Those of workspaces and feeds.
    pub base: SchemaPart,
    /// Those of waiting files.
    pub uploads: SchemaPart,
}

/// What a PostgreSQL server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its version, such as `15.18`.
    pub version: String,
    /// What its clock shows.
    pub time: Timestamp,
    /// How much of its disk the database takes, in bytes.
    pub database_bytes: u64,
}

/// Whether the tables of one part of the schema are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaPart {
    /// They are.
    Ready,
    /// At least one is not.
    Missing,
}

impl Database {
    /// Sets up a pool; connections are made when they are first needed, so the server may be away.
    /// One task keeps a connection of its own for hints between instances, and tries again for ever
    /// while the server is away; it ends when the last clone is dropped.
    ///
    /// # Errors
    /// [`ConfigError::CaFile`], [`ConfigError::Tls`], [`ConfigError::Pool`].
    ///
    /// # Panics
    /// When it is called outside of a tokio runtime.
    pub fn connect(config: &DatabaseConfig) -> std::result::Result<Self, ConfigError> {
        let runtime = Handle::current();
        let connector = Connector {
            tls: tls_connector(config)?,
            runtime: runtime.clone(),
        };
        let pool = build_pool(config, connector.clone())?;
        let signals = FeedSignals::new();
        let known = KnownWorkspaces::default();
        let passed_over = PassedOver::default();
        let remembered = Remembered {
            signals: signals.clone(),
            known: known.clone(),
            passed_over: passed_over.clone(),
        };
        let hints = Hints::start(
            &runtime,
            connector.clone(),
            config.postgres().clone(),
            pool.clone(),
            remembered,
        );
        let postgres = config.postgres().clone();
        let inner = Inner {
            pool,
            at_feeds: Arc::new(Semaphore::new(config.pool_size().div_ceil(2))),
            runtime,
            signals,
            hints,
            known,
            passed_over,
            connector,
            postgres,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Looks which tables are there.
    ///
    /// # Errors
    /// [`Unavailable`](pending_uploads_core::Error::Unavailable),
    /// [`Backend`](pending_uploads_core::Error::Backend).
    pub async fn schema(&self) -> Result<Schema> {
        let part = |ready| {
            if ready {
                SchemaPart::Ready
            } else {
                SchemaPart::Missing
            }
        };
        let rows = self.query(SCHEMA, &[]).await?;
        let row = rows.first().ok_or(PgError::Damaged("no schema"))?;
        Ok(Schema {
            base: part(rows::column(row, "base")?),
            uploads: part(rows::column(row, "uploads")?),
        })
    }

    /// Asks the server about itself.
    ///
    /// # Errors
    /// [`Unavailable`](pending_uploads_core::Error::Unavailable),
    /// [`Backend`](pending_uploads_core::Error::Backend).
    pub async fn server(&self) -> Result<Server> {
        let rows = self.query(SERVER, &[]).await?;
        let row = rows.first().ok_or(PgError::Damaged("no server"))?;
        Ok(Server {
            version: rows::column(row, "version")?,
            time: rows::time(row, "time")?,
            database_bytes: rows::byte_count(row, "database_bytes")?,
        })
    }

    /// Borrows a connection.
    pub(crate) async fn client(&self) -> std::result::Result<Object, PgError> {
        Ok(self.inner.pool.get().await?)
    }

    /// Borrows one to wait for the lock of a feed with. Half of all connections are for that at the
    /// most: one feed that somebody holds must not keep the polls and acks of all others from theirs.
    pub(crate) async fn client_for_a_feed(
        &self,
    ) -> std::result::Result<(Object, OwnedSemaphorePermit), PgError> {
        let permit = timeout(POOL_WAIT, self.inner.at_feeds.clone().acquire_owned()).await;
        let permit = permit.map_err(|_| PgError::Pool(PoolError::Timeout(TimeoutType::Wait)))?;
        let permit = permit.map_err(|_| PgError::Stopped)?;
        Ok((self.client().await?, permit))
    }

    /// Whether somebody waits for a connection, and no more can be made.
    pub(crate) fn is_short_of_connections(&self) -> bool {
        let pool = self.inner.pool.status();
        pool.size >= pool.max_size && pool.waiting > 0
    }

    /// Runs a statement that may be repeated: when its connection turns out to have been lost, it is
    /// sent again on another. A pool may hold several that a restart of the server has ended.
    pub(crate) async fn query(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> std::result::Result<Vec<Row>, PgError> {
        let mut pauses = LOST_PAUSES.iter();
        loop {
            match (self.query_once(sql, params).await, pauses.next()) {
                (Err(error), Some(pause)) if error.is_lost() => sleep(*pause).await,
                (outcome, _) => return outcome,
            }
        }
    }

    /// Runs a statement that may not be repeated.
    pub(crate) async fn query_once(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> std::result::Result<Vec<Row>, PgError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(sql).await?;
        Ok(client.query(&statement, params).await?)
    }

    /// Runs work that must not be cut off by a caller that goes away.
    pub(crate) async fn run<T, F>(&self, work: F) -> std::result::Result<T, PgError>
    where
        T: Send + 'static,
        F: Future<Output = std::result::Result<T, PgError>> + Send + 'static,
    {
        self.inner.runtime.spawn(work).await?
    }

    /// Starts work that nobody waits for.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.inner.runtime.spawn(work)
    }

    /// Those who wait for feeds in this process.
    pub(crate) fn signals(&self) -> &FeedSignals {
        &self.inner.signals
    }

    /// What was lately looked up of workspaces.
    pub(crate) fn known(&self) -> &KnownWorkspaces {
        &self.inner.known
    }

    /// What polls have passed over, and need not read again.
    pub(crate) fn passed_over(&self) -> &PassedOver {
        &self.inner.passed_over
    }

    /// Tells whoever waits for a feed, here at once and elsewhere soon, that it has a new row.
    pub(crate) fn announce(&self, workspace: pending_uploads_core::WorkspaceId) {
        self.inner.signals.signal(workspace);
        self.inner.hints.send(workspace);
    }

    /// A connection outside of the pool, for migrations.
    pub(crate) async fn dedicated_client(&self) -> std::result::Result<Client, PgError> {
        let connecting = self.inner.connector.connect(&self.inner.postgres);
        let connected = timeout(POOL_CREATE, connecting).await;
        let (client, _) = connected.map_err(|_| PgError::ConnectTimeout)??;
        Ok(client)
    }
}

/// Makes connections on one runtime, whichever thread asks for them: a connection that a web
/// server's worker made must outlive that worker.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) tls: MakeRustlsConnect,
    runtime: Handle,
}

impl Connect for Connector {
    fn connect(
        &self,
        postgres: &Config,
    ) -> BoxFuture<'_, std::result::Result<(Client, JoinHandle<()>), tokio_postgres::Error>> {
        let (tls, postgres) = (self.tls.clone(), postgres.clone());
        let runtime = self.runtime.clone();
        // Whoever does not wait for it to the end ends it.
        let connecting = AbortOnDropHandle::new(self.runtime.spawn(async move {
            let (client, connection) = postgres.connect(tls).await?;
            // How a connection ended is told to whoever uses it next, and logged there.
            let driver = runtime.spawn(connection.map(drop));
            client.batch_execute(DURABLE_SESSION).await?;
            Ok((client, driver))
        }));
        async move {
            match connecting.await {
                Ok(connected) => connected,
                // The runtime is shutting down: nobody will see what is made of this.
                Err(_) => std::future::pending().await,
            }
        }
        .boxed()
    }
}

fn build_pool(config: &DatabaseConfig, connector: Connector) -> Result<Pool, ConfigError> {
    let manager = Manager::from_connect(
        config.postgres().clone(),
        connector,
        ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        },
    );
    Pool::builder(manager)
        .max_size(config.pool_size())
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(POOL_WAIT))
        .create_timeout(Some(POOL_CREATE))
        .recycle_timeout(Some(POOL_CREATE))
        .build()
        .map_err(|error| ConfigError::Pool {
            reason: error.to_string(),
        })
}

/// A connector that verifies certificates; whether it is used is for the `sslmode` to say.
fn tls_connector(config: &DatabaseConfig) -> Result<MakeRustlsConnect, ConfigError> {
    let mut roots = RootCertStore::empty();
    match config.ca_file() {
        Some(path) => {
            let unusable = |reason: String| ConfigError::CaFile {
                path: path.to_owned(),
                reason,
            };
            let certificates =
                CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
                roots
                    .add(certificate)
                    .map_err(|error| unusable(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(unusable("it holds no certificate".to_owned()));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ConfigError::Tls {
            reason: error.to_string(),
        })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(tls))
}
