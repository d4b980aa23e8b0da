//! Serving: everything wired together, from the first look at the database to the last answer.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::process;
use std::sync::Arc;
use std::time::Duration;

use log::{info, warn};
use metrics_exporter_prometheus::PrometheusHandle;
use pending_uploads_core::{ActivityLog, Clock, Error, Storage, Sweeper, SystemClock, Workspaces};
use pending_uploads_pg::{
    ConfigError, Database, PgActivityLog, PgStorage, PgWorkspaces, Schema, SchemaPart,
};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use upload_http::{BuildError, Platform, RegistrationPolicy, ServeOptions};

use crate::readiness::DatabaseReadiness;
use crate::settings::ServeSettings;
use crate::signals::StopSignals;
use crate::{FAILED, logging, metrics};

/// How long is waited between two looks at a database that does not answer.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How long what is left of the background work may take at the very end.
const RUNTIME_PATIENCE: Duration = Duration::from_secs(2);

/// Why the server did not start, or did not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeFailure {
    /// The process cannot get what every process needs.
    #[error("cannot start")]
    Runtime(#[source] io::Error),
    /// Metrics cannot be recorded.
    #[error("cannot record metrics")]
    Metrics(#[source] metrics_exporter_prometheus::BuildError),
    /// The connections cannot be set up.
    #[error("cannot set up the database's connections")]
    Config(#[source] ConfigError),
    /// The database did not answer in time, or refused.
    #[error("cannot use the database {database}")]
    Database {
        /// Where it is.
        database: String,
        /// What went wrong.
        source: Error,
    },
    /// The database is empty.
    #[error(
        "the database {database} lacks the platform's tables: run `platform-server migrate` first"
    )]
    NoTables {
        /// Where it is.
        database: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The platform cannot be put together.
    #[error("cannot put the platform together")]
    Build(#[source] BuildError),
    /// The web server failed.
    #[error("the web server failed")]
    Server(#[source] io::Error),
}

/// Serves until it is told to stop.
pub(crate) fn run(settings: ServeSettings) -> Result<(), ServeFailure> {
    logging::start(&settings.log);
    let metrics = metrics::install().map_err(ServeFailure::Metrics)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("platform")
        .build()
        .map_err(ServeFailure::Runtime)?;
    let outcome = runtime.block_on(serve(settings, metrics));
    runtime.shutdown_timeout(RUNTIME_PATIENCE);
    outcome
}

async fn serve(settings: ServeSettings, metrics: PrometheusHandle) -> Result<(), ServeFailure> {
    let mut signals = StopSignals::watch().map_err(ServeFailure::Runtime)?;
    let database = Database::connect(&settings.database).map_err(ServeFailure::Config)?;
    let schema = tokio::select! {
        schema = find_schema(&database, &settings) => schema?,
        signal = signals.next() => {
            info!(signal = signal; "stopped before the database answered");
            return Ok(());
        }
    };
    let listener = TcpListener::bind(settings.bind).map_err(|source| ServeFailure::Listen {
        address: settings.bind,
        source,
    })?;
    announce(&listener, &settings)?;

    let shutdown = CancellationToken::new();
    let parts = Parts::new(&database, &settings);
    let platform = parts.platform(schema, &settings, metrics.clone(), &shutdown)?;
    let options = ServeOptions {
        shutdown_timeout: settings.shutdown_timeout,
        ..ServeOptions::default()
    };
    let server = upload_http::serve(listener, platform, options).map_err(ServeFailure::Server)?;
    tokio::spawn(metrics::keep_up(metrics));
    if schema.uploads == SchemaPart::Ready {
        tokio::spawn(sweep(
            parts.sweeper(&settings),
            settings.sweep_interval,
            shutdown.clone(),
        ));
    }

    let handle = server.handle();
    tokio::spawn(async move {
        let signal = signals.next().await;
        info!(signal = signal; "stopping");
        shutdown.cancel();
        tokio::spawn(handle.stop(true));
        let again = signals.next().await;
        warn!(signal = again; "stopped at once");
        process::exit(FAILED.into());
    });
    server.await.map_err(ServeFailure::Server)?;
    info!("stopped");
    Ok(())
}

/// Looks which tables there are, again and again until the database answers or its time is over.
async fn find_schema(
    database: &Database,
    settings: &ServeSettings,
) -> Result<Schema, ServeFailure> {
    let deadline = Instant::now() + settings.database_wait;
    loop {
        match database.schema().await {
            Ok(schema) => return check(schema, settings),
            Err(source @ Error::Unavailable { .. }) if Instant::now() < deadline => {
                warn!(database:% = settings.database, error:% = source.report(); "waiting for the database");
            }
            Err(source) => {
                let database = settings.database.to_string();
                return Err(ServeFailure::Database { database, source });
            }
        }
        sleep_until(deadline.min(Instant::now() + RETRY_PAUSE)).await;
    }
}

fn check(schema: Schema, settings: &ServeSettings) -> Result<Schema, ServeFailure> {
    if schema.base == SchemaPart::Missing {
        let database = settings.database.to_string();
        return Err(ServeFailure::NoTables { database });
    }
    Ok(schema)
}

/// Says on stdout where the server listens and what it stores in, and in the log what it will not
/// do.
fn announce(listener: &TcpListener, settings: &ServeSettings) -> Result<(), ServeFailure> {
    let address = listener.local_addr().map_err(ServeFailure::Runtime)?;
    let database = &settings.database;
    let line = format!("listening on http://{address}, storing in PostgreSQL at {database}\n");
    io::stdout()
        .write_all(line.as_bytes())
        .map_err(ServeFailure::Runtime)?;
    if settings.http.admin_token.is_none() {
        match settings.http.registration {
            RegistrationPolicy::Open => {
                warn!("ADMIN_TOKEN is not set: no token opens every workspace");
            }
            RegistrationPolicy::AdminOnly => warn!(
                "ADMIN_TOKEN is not set: no token opens every workspace, and no new workspace can \
                 register, because REGISTRATION is admin"
            ),
        }
    }
    Ok(())
}

/// The traits' implementations, on one database.
struct Parts {
    database: Database,
    clock: Arc<dyn Clock>,
    storage: Arc<dyn Storage>,
    activity: Arc<dyn ActivityLog>,
    workspaces: Arc<dyn Workspaces>,
}

impl Parts {
    fn new(database: &Database, settings: &ServeSettings) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let storage = PgStorage::new(database, settings.storage, Arc::clone(&clock));
        Self {
            database: database.clone(),
            storage: Arc::new(storage),
            activity: Arc::new(PgActivityLog::new(database, Arc::clone(&clock))),
            workspaces: Arc::new(PgWorkspaces::new(database, Arc::clone(&clock))),
            clock,
        }
    }

    fn platform(
        &self,
        schema: Schema,
        settings: &ServeSettings,
        metrics: PrometheusHandle,
        shutdown: &CancellationToken,
    ) -> Result<Platform, ServeFailure> {
        let builder = Platform::builder(Arc::clone(&self.workspaces), Arc::clone(&self.activity))
            .settings(settings.http.clone())
            .readiness(Arc::new(DatabaseReadiness(self.database.clone())))
            .metrics(metrics::renderer(metrics))
            .clock(Arc::clone(&self.clock))
            .shutdown(shutdown.clone());
        let builder = match schema.uploads {
            SchemaPart::Ready => builder.staging(Arc::clone(&self.storage)),
            SchemaPart::Missing => {
                warn!(
                    "the database lacks the tables of waiting files: uploads for workspaces that \
                     poll are refused until `platform-server migrate` has run and the server is \
                     restarted"
                );
                builder
            }
        };
        builder.build().map_err(ServeFailure::Build)
    }

    fn sweeper(&self, settings: &ServeSettings) -> Sweeper {
        Sweeper::new(
            Arc::clone(&self.storage),
            Arc::clone(&self.activity),
            Arc::clone(&self.clock),
            settings.sweep,
        )
    }
}

/// Sweeps until the server stops; a step under way is done whole or not at all.
async fn sweep(sweeper: Sweeper, every: Duration, shutdown: CancellationToken) {
    tokio::select! {
        () = sweeper.run(every) => {}
        () = shutdown.cancelled() => {}
    }
}
