//! A platform in the test's own process, on a real store, whose clock the test sets.

use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pending_uploads_core::{
    ActivityLog, ManualClock, Storage, StorageConfig, SweepPolicy, Sweeper, Timestamp, Workspaces,
};
use server_harness::{Client, Store};
use tokio::task::JoinHandle;
use upload_http::{Platform, ServeOptions, serve};

/// How often the sweeper of a platform whose clock a test sets looks.
const SWEEP_EVERY: Duration = Duration::from_millis(50);

/// A platform that serves, with a sweeper at work, until it is stopped.
#[derive(Debug)]
pub(crate) struct TimedPlatform {
    clock: Arc<ManualClock>,
    url: String,
    sweeper: Sweeper,
    sweeping: JoinHandle<()>,
    stop: tokio::sync::oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

/// What a platform is put together from.
struct Parts {
    storage: Arc<dyn Storage>,
    activity: Arc<dyn ActivityLog>,
    workspaces: Arc<dyn Workspaces>,
}

impl TimedPlatform {
    /// Starts one whose clock is behind by so much. Must be called within a tokio runtime.
    pub(crate) fn start(store: &Store, ago: Duration) -> Self {
        let now = Timestamp::from(SystemTime::now());
        let clock = Arc::new(ManualClock::starting_at(now.saturating_sub(ago)));
        let parts = parts(store, &clock);
        let sweeper = Sweeper::new(
            Arc::clone(&parts.storage),
            Arc::clone(&parts.activity),
            clock.clone(),
            SweepPolicy::default(),
        );
        let platform = Platform::builder(parts.workspaces, parts.activity)
            .staging(parts.storage)
            .clock(clock.clone())
            .build()
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let options = ServeOptions {
            workers: NonZeroUsize::MIN,
            ..ServeOptions::default()
        };
        let server = serve(listener, platform, options).unwrap();
        let handle = server.handle();
        let serving = tokio::spawn(async move {
            let running = tokio::spawn(server);
            drop(stopped.await);
            handle.stop(true).await;
            running.await.unwrap().unwrap();
        });
        let at_work = sweeper.clone();
        Self {
            clock,
            url,
            sweeper,
            sweeping: tokio::spawn(async move { at_work.run(SWEEP_EVERY).await }),
            stop,
            serving,
        }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A client that shows `token`, if there is one.
    pub(crate) fn client(&self, token: Option<&str>) -> Client {
        Client::new(self.url.clone(), token)
    }

    /// Lets time pass for the platform; what is over then is swept.
    pub(crate) async fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.sweeper.sweep_until_dry().await.unwrap();
    }

    /// Stops it.
    pub(crate) async fn stop(self) {
        self.sweeping.abort();
        drop(self.stop);
        self.serving.await.unwrap();
    }
}

fn parts(store: &Store, clock: &Arc<ManualClock>) -> Parts {
    let config = StorageConfig::default();
    match store {
        Store::Postgres(database) => {
            use pending_uploads_pg::{
                Database, DatabaseConfig, PgActivityLog, PgStorage, PgWorkspaces,
            };
            let database = DatabaseConfig::parse(&database.url()).unwrap();
            let database = Database::connect(&database).unwrap();
            Parts {
                storage: Arc::new(PgStorage::new(&database, config, clock.clone())),
                activity: Arc::new(PgActivityLog::new(&database, clock.clone())),
                workspaces: Arc::new(PgWorkspaces::new(&database, clock.clone())),
            }
        }
        Store::Sqlite(folder) => {
            use pending_uploads_sqlite::{
                Database, SqliteActivityLog, SqliteStorage, SqliteWorkspaces,
            };
            let database = Database::open(&folder.path()).unwrap();
            Parts {
                storage: Arc::new(SqliteStorage::new(&database, config, clock.clone())),
                activity: Arc::new(SqliteActivityLog::new(&database, clock.clone())),
                workspaces: Arc::new(SqliteWorkspaces::new(&database, clock.clone())),
            }
        }
    }
}
