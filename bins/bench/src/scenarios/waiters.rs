//! Polls that wait: what they cost while nothing happens, and how soon they are woken.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::client::{Connection, Request};
use crate::error::BenchError;
use crate::figures::{Figure, Figures};
use crate::load::Yield;
use crate::meters::{Meters, Process, mebibytes};
use crate::scenarios::jobs::last_row;
use crate::site::{Site, Workspace};

/// How often the server must have used no CPU, one look after the other, until every poll is taken
/// to wait.
const QUIET_LOOKS: u32 = 5;
const LOOK_PAUSE: Duration = Duration::from_millis(100);
/// How many of the waiters are woken, one after the other.
const WOKEN: usize = 300;

/// Lets `number` workspaces wait, and wakes some of them with a message each. A latency is from the
/// beginning of the message's request until the poll is answered.
pub(crate) async fn waiters(site: &Site<'_>, number: usize) -> Result<Figures, BenchError> {
    let meters = site.meters();
    let workspaces = site.workspaces(number).await?;
    until_quiet(&meters.server).await?;
    let idle = meters.server.memory()?;
    let (woken, mut wakes) = mpsc::channel(number);
    let mut waiting = JoinSet::new();
    for (place, workspace) in workspaces.iter().enumerate() {
        let connection = Connection::open(site.address()?).await?;
        waiting.spawn(wait(connection, workspace.clone(), place, woken.clone()));
    }
    until_quiet(&meters.server).await?;
    let begun = meters.begin().await?;
    let mut figures = at_rest(&meters, idle).await?;
    let messages = workspaces.iter().take(WOKEN).cloned().collect();
    let yielded = wake(site, messages, &mut wakes, &mut waiting).await?;
    figures.extend(meters.end(&begun, &yielded).await?);
    Ok(figures)
}

async fn at_rest(meters: &Meters<'_>, idle: u64) -> Result<Figures, BenchError> {
    let memory = meters.server.memory()?;
    let mut figures = Figures::default();
    figures.set(Figure::MemoryMib, mebibytes(memory));
    let more = mebibytes(memory.saturating_sub(idle));
    figures.set(Figure::MemoryOverIdleMib, more);
    if let Some(database) = meters.database {
        let (open, in_use) = database.connections().await?;
        figures.set(Figure::ConnectionsOpen, open);
        figures.set(Figure::ConnectionsInUse, in_use);
    }
    Ok(figures)
}

/// Waits until the server has nothing to do.
async fn until_quiet(server: &Process) -> Result<(), BenchError> {
    let mut quiet = 0;
    let mut before = server.cpu_seconds()?;
    while quiet < QUIET_LOOKS {
        tokio::time::sleep(LOOK_PAUSE).await;
        let now = server.cpu_seconds()?;
        quiet = if now > before { 0 } else { quiet + 1 };
        before = now;
    }
    Ok(())
}

/// Polls, waiting, again and again, and says when there was something.
async fn wait(
    mut connection: Connection,
    workspace: Workspace,
    place: usize,
    woken: mpsc::Sender<(usize, Instant)>,
) -> Result<(), BenchError> {
    let mut cursor = "00000000-0000-0000-0000-000000000000".to_owned();
    loop {
        let path = workspace.path(&format!("activity?since_id={cursor}&wait=60"));
        let request = Request::get(&path, Some(&workspace.token));
        let answer = connection.call(&request).await?;
        let now = Instant::now();
        if let Some(row) = last_row(answer)? {
            cursor = row;
            if woken.send((place, now)).await.is_err() {
                return Ok(());
            }
        }
    }
}

async fn wake(
    site: &Site<'_>,
    workspaces: Vec<Workspace>,
    wakes: &mut mpsc::Receiver<(usize, Instant)>,
    waiting: &mut JoinSet<Result<(), BenchError>>,
) -> Result<Yield, BenchError> {
    let mut connection = Connection::open(site.address()?).await?;
    let mut yielded = Yield::nothing()?;
    let begun = Instant::now();
    for (place, workspace) in workspaces.iter().enumerate() {
        let sent = Instant::now();
        connection.call(&message(workspace)).await?;
        let answered = tokio::select! {
            Some((woken, at)) = wakes.recv() => (woken == place).then_some(at),
            Some(ended) = waiting.join_next() => {
                ended.map_err(|_| BenchError::WorkerDied)??;
                None
            }
        };
        let answered = answered.ok_or(BenchError::WorkerDied)?;
        yielded.note(0, answered.saturating_duration_since(sent));
    }
    yielded.elapsed = begun.elapsed();
    Ok(yielded)
}

fn message(workspace: &Workspace) -> Request {
    let json = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"message/send\",\"params\":{\"message\":\
        {\"parts\":[{\"kind\":\"text\",\"text\":\"wake\"}]}}}";
    Request::post(&workspace.path("a2a"), Some(&workspace.token), json)
}
