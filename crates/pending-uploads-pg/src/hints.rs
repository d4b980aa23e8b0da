//! Hints between instances: "there is something new in this feed", and "this workspace was changed".
//!
//! A hint may be lost, and a row never is: whoever waits looks again when a hint comes, when the
//! listening connection was re-established, and when the slow poll sees a counter that has moved.
//!
//! Hints are sent after the commit, gathered, on the connection that listens. A NOTIFY inside the
//! publishing transaction would make all publishes of the cluster commit one after another.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use deadpool_postgres::Pool;
use futures_util::future::{Either, poll_fn, select};
use log::{debug, warn};
use pending_uploads_core::{FeedSignals, Hearing, KnownWorkspaces, PassedOver, Seq, WorkspaceId};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::{AsyncMessage, Client, Config, Notification};

use crate::database::{Connector, POOL_CREATE};
use crate::error::PgError;
use crate::rows;

/// The channel of all feeds of the cluster; the payload is the workspace's id.
pub(crate) const CHANNEL: &str = "pending_uploads_feed";
/// The channel on which the database itself tells which workspace was changed.
const WORKSPACES_CHANNEL: &str = "pending_uploads_workspaces";
/// How many hints may be waiting to be sent. More are dropped: the slow poll makes up for them.
const QUEUED_HINTS: usize = 4096;
/// How long hints are gathered after some were sent; one that comes later than that is sent at once.
const PAUSE: Duration = Duration::from_millis(5);
/// How often the counters of waited-for feeds are looked at.
const SLOW_POLL: Duration = Duration::from_secs(3);
/// How long the listener pauses before it connects again.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

const NOTIFY: &str = "SELECT pg_notify($1, hint) FROM unnest($2::text[]) AS hint";
/// Whether changes of workspaces are told of: the step of the schema may be missing.
const IS_TOLD: &str = "SELECT EXISTS (SELECT FROM pg_trigger \
     WHERE tgrelid = to_regclass('workspaces') AND tgname = 'workspaces_changed' \
         AND tgenabled IN ('O', 'A')) AS is_told";
const COUNTERS: &str =
    "SELECT workspace_id, last_seq FROM feed_counters WHERE workspace_id = ANY($1)";

/// Sends hints, and wakes this process's readers when others' arrive.
pub(crate) struct Hints {
    outbox: mpsc::Sender<WorkspaceId>,
    tasks: [JoinHandle<()>; 2],
}

impl Hints {
    /// Starts the listener and the slow poll; they end when this is dropped.
    pub(crate) fn start(
        runtime: &Handle,
        connector: Connector,
        postgres: Config,
        pool: Pool,
        remembered: Remembered,
    ) -> Self {
        let (outbox, inbox) = mpsc::channel(QUEUED_HINTS);
        let signals = remembered.signals.clone();
        let listener = Listener {
            connector,
            postgres,
            remembered,
            inbox,
        };
        let tasks = [
            runtime.spawn(listener.run()),
            runtime.spawn(poll_slowly(pool, signals)),
        ];
        Self { outbox, tasks }
    }

    /// Sends a hint soon, or never.
    pub(crate) fn send(&self, workspace: WorkspaceId) {
        if self.outbox.try_send(workspace).is_err() {
            debug!("a hint was dropped; the slow poll makes up for it");
        }
    }
}

impl Drop for Hints {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// What this process waits for and remembers, of which the listener says when it is out of date.
#[derive(Debug, Clone)]
pub(crate) struct Remembered {
    pub(crate) signals: FeedSignals,
    pub(crate) known: KnownWorkspaces,
    pub(crate) passed_over: PassedOver,
}

struct Listener {
    connector: Connector,
    postgres: Config,
    remembered: Remembered,
    inbox: mpsc::Receiver<WorkspaceId>,
}

impl Listener {
    async fn run(mut self) {
        loop {
            let listened = self.listen_until_lost().await;
            self.remembered.known.forget_all(Hearing::Deaf);
            // What comes back may be another database, or an older state of this one.
            self.remembered.passed_over.forget_all();
            if let Err(error) = listened {
                // The state of the database is logged by the requests that need it.
                debug!(error:% = error; "the hint connection was lost");
            }
            sleep(RECONNECT_PAUSE).await;
        }
    }

    async fn listen_until_lost(&mut self) -> Result<(), PgError> {
        let connecting = self.postgres.connect(self.connector.tls.clone());
        let connected = timeout(POOL_CREATE, connecting).await;
        let (client, mut connection) = connected.map_err(|_| PgError::ConnectTimeout)??;
        let Remembered { signals, known, .. } = self.remembered.clone();
        let driver = poll_fn(move |cx| {
            loop {
                match std::task::ready!(connection.poll_message(cx)) {
                    Some(Ok(AsyncMessage::Notification(hint))) => {
                        heed(&hint, &signals, &known);
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return std::task::Poll::Ready(Err(error)),
                    None => return std::task::Poll::Ready(Ok(())),
                }
            }
        });
        let sender = send_hints(&client, &self.remembered, &mut self.inbox);
        match select(driver, std::pin::pin!(sender)).await {
            Either::Left((lost, _)) => Ok(lost?),
            Either::Right((failed, _)) => failed,
        }
    }
}

/// Does what a hint says; one that cannot be read says nothing.
fn heed(hint: &Notification, signals: &FeedSignals, known: &KnownWorkspaces) {
    let Ok(workspace) = hint.payload().parse() else {
        return;
    };
    if hint.channel() == WORKSPACES_CHANNEL {
        known.forget(workspace);
    } else {
        signals.signal(workspace);
    }
}

/// Listens first and wakes everyone then: what was announced while nobody listened is looked for.
async fn send_hints(
    client: &Client,
    remembered: &Remembered,
    inbox: &mut mpsc::Receiver<WorkspaceId>,
) -> Result<(), PgError> {
    let listen = format!("LISTEN {CHANNEL}; LISTEN {WORKSPACES_CHANNEL}");
    client.batch_execute(&listen).await?;
    remembered.signals.signal_all();
    if rows::column(&client.query_one(IS_TOLD, &[]).await?, "is_told")? {
        remembered.known.forget_all(Hearing::Listening);
    }
    let notify = client.prepare(NOTIFY).await?;
    let mut gathered = Vec::new();
    while inbox.recv_many(&mut gathered, QUEUED_HINTS).await > 0 {
        let hints: HashSet<String> = gathered
            .drain(..)
            .map(|workspace| workspace.to_string())
            .collect();
        let hints: Vec<String> = hints.into_iter().collect();
        client.execute(&notify, &[&CHANNEL, &hints]).await?;
        sleep(PAUSE).await;
    }
    Ok(())
}

/// One statement for all the feeds that somebody in this process waits for.
async fn poll_slowly(pool: Pool, signals: FeedSignals) {
    let mut seen = HashMap::new();
    loop {
        sleep(SLOW_POLL).await;
        let waited_for = signals.waited_for();
        if waited_for.is_empty() {
            seen.clear();
            continue;
        }
        match counters(&pool, &waited_for).await {
            Ok(counters) => {
                for (workspace, last_seq) in &counters {
                    if seen.get(workspace) != Some(last_seq) {
                        signals.signal(*workspace);
                    }
                }
                seen = counters;
            }
            Err(error) => warn!(error:% = error; "waiting feeds could not be looked at"),
        }
    }
}

async fn counters(
    pool: &Pool,
    workspaces: &[WorkspaceId],
) -> Result<HashMap<WorkspaceId, Seq>, PgError> {
    let ids: Vec<_> = workspaces.iter().map(WorkspaceId::as_uuid).collect();
    let client = pool.get().await?;
    let statement = client.prepare_cached(COUNTERS).await?;
    let found = client.query(&statement, &[&ids]).await?;
    let counter = |row| {
        let workspace = WorkspaceId::from_uuid(rows::uuid(row, "workspace_id")?);
        Ok((workspace, Seq(rows::column(row, "last_seq")?)))
    };
    found.iter().map(counter).collect()
}
