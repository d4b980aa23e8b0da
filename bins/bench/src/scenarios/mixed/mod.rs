//! An hour of people and workspaces, compressed into two minutes: an open loop, in which nobody waits
//! for the server before the next one comes.

mod plan;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::client::{Connection, Form, Request};
use crate::error::BenchError;
use crate::load::Yield;
use crate::scenarios::Rows;
use crate::scenarios::jobs::{self, ack_request, content_request, file_ids, last_row};
use crate::scenarios::prepare::upload_request;
use crate::site::{Site, Workspace};

use plan::{Fate, Planned, fate, plan};

/// The rows that it yields: each is about one kind of request.
const KINDS: [&str; 4] = ["uploads", "fetches", "acks", "arrivals"];
/// How many fetches one workspace has under way.
const FETCHES: usize = 4;
/// What the workspaces may take after the last upload, and how often is looked.
const PATIENCE: Duration = Duration::from_mins(1);
const LOOK_PAUSE: Duration = Duration::from_millis(20);
const SEED: u64 = 30;

/// What everybody notes.
#[derive(Debug)]
struct Notes {
    uploads: Yield,
    fetches: Yield,
    acks: Yield,
    /// When the upload of each file that is to be fetched was answered, and when its ack was.
    answered: BTreeMap<String, Instant>,
    acked: BTreeMap<String, Instant>,
}

/// What everybody works with.
#[derive(Debug, Clone)]
struct Scene {
    address: SocketAddr,
    notes: Arc<Mutex<Notes>>,
    failures: mpsc::Sender<BenchError>,
}

/// Lets `number` workspaces live for so long, which has the costs of all of it in its first row. The
/// latency of an upload counts from the moment that it was due, those of a fetch and an ack from
/// their requests; an arrival is from the answer to the upload until the answer to the ack.
pub(crate) async fn mixed(
    site: &Site<'_>,
    number: usize,
    duration: Duration,
) -> Result<Rows, BenchError> {
    let workspaces = site.workspaces(number).await?;
    let (failures, mut failed) = mpsc::channel(1);
    let scene = Scene {
        address: site.address()?,
        notes: Arc::new(Mutex::new(Notes::begin()?)),
        failures,
    };
    let meters = site.meters();
    let begun = meters.begin().await?;
    let clock = Instant::now();
    let mut everybody = JoinSet::new();
    for workspace in &*workspaces {
        everybody.spawn(heard(scene.clone(), live(scene.clone(), workspace.clone())));
    }
    let mut uploads = JoinSet::new();
    for planned in plan(number, duration, SEED) {
        let workspace = workspaces[planned.workspace].clone();
        let upload = upload(scene.clone(), workspace, clock, planned);
        uploads.spawn(heard(scene.clone(), upload));
    }
    let all_done = async {
        while uploads.join_next().await.is_some() {}
        timeout(PATIENCE, until_all_arrived(&scene)).await
    };
    tokio::select! {
        Some(error) = failed.recv() => return Err(error),
        done = all_done => done.map_err(|_| BenchError::NotArrived)?,
    }
    let elapsed = clock.elapsed();
    everybody.shutdown().await;
    let yields = scene.notes().yields(elapsed)?;
    let mut rows: Rows = KINDS
        .into_iter()
        .zip(&yields)
        .map(|(kind, yielded)| (Some(kind), yielded.figures()))
        .collect();
    rows[0].1 = meters.end(&begun, &yields[0]).await?;
    Ok(rows)
}

impl Notes {
    fn begin() -> Result<Self, BenchError> {
        Ok(Self {
            uploads: Yield::nothing()?,
            fetches: Yield::nothing()?,
            acks: Yield::nothing()?,
            answered: BTreeMap::new(),
            acked: BTreeMap::new(),
        })
    }

    /// What was yielded of each kind in so long.
    fn yields(&self, elapsed: Duration) -> Result<[Yield; KINDS.len()], BenchError> {
        let mut arrivals = Yield::nothing()?;
        for (file, answered) in &self.answered {
            if let Some(acked) = self.acked.get(file) {
                arrivals.note(0, acked.saturating_duration_since(*answered));
            }
        }
        let all = [&self.uploads, &self.fetches, &self.acks, &arrivals];
        Ok(all.map(|yielded| Yield {
            elapsed,
            ..yielded.clone()
        }))
    }

    fn all_arrived(&self) -> bool {
        self.answered
            .keys()
            .all(|file| self.acked.contains_key(file))
    }
}

impl Scene {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever fails says so, and ends everything.
async fn heard(scene: Scene, task: impl Future<Output = Result<(), BenchError>>) {
    if let Err(error) = task.await {
        // Only the first one counts.
        drop(scene.failures.try_send(error));
    }
}

async fn until_all_arrived(scene: &Scene) {
    while !scene.notes().all_arrived() {
        sleep(LOOK_PAUSE).await;
    }
}

async fn upload(
    scene: Scene,
    workspace: Workspace,
    clock: Instant,
    planned: Planned,
) -> Result<(), BenchError> {
    let due = clock + planned.at;
    sleep_until(due).await;
    let mut connection = Connection::open(scene.address).await?;
    let form = Arc::new(Form::new(1, planned.bytes));
    let ids = jobs::upload(&mut connection, &upload_request(&workspace, &form)).await?;
    let now = Instant::now();
    let mut notes = scene.notes();
    notes.uploads.note(planned.bytes, now - due);
    let taken = ids.into_iter().filter(|id| fate(id) != Fate::Left);
    notes.answered.extend(taken.map(|id| (id, now)));
    Ok(())
}

/// A workspace: polls and waits, fetches what comes, a few at a time, and acks it. It lives until it
/// is ended, and what it does then ends with it.
async fn live(scene: Scene, workspace: Workspace) -> Result<(), BenchError> {
    let mut connection = Connection::open(scene.address).await?;
    let mut cursor = "00000000-0000-0000-0000-000000000000".to_owned();
    let room = Arc::new(Semaphore::new(FETCHES));
    let mut taking = JoinSet::new();
    loop {
        let path = workspace.path(&format!("activity?since_id={cursor}&wait=60"));
        let request = Request::get(&path, Some(&workspace.token));
        let answer = connection.call(&request).await?;
        let ids = file_ids(answer);
        cursor = last_row(answer)?.unwrap_or(cursor);
        for id in ids.into_iter().filter(|id| fate(id) != Fate::Left) {
            let take = take(scene.clone(), workspace.clone(), Arc::clone(&room), id);
            taking.spawn(heard(scene.clone(), take));
        }
        while taking.try_join_next().is_some() {}
    }
}

/// Fetches a file and acks it.
async fn take(
    scene: Scene,
    workspace: Workspace,
    room: Arc<Semaphore>,
    id: String,
) -> Result<(), BenchError> {
    let _place = room.acquire().await.map_err(|_| BenchError::WorkerDied)?;
    let mut connection = Connection::open(scene.address).await?;
    let content = content_request(&workspace, &id);
    if fate(&id) == Fate::CutOff {
        connection.fetch_and_cut_off(&content, 1).await?;
    }
    let begun = Instant::now();
    let bytes = connection.fetch(&content).await?;
    let fetched = Instant::now();
    jobs::ack(&mut connection, &ack_request(&workspace, &id)).await?;
    let acked = Instant::now();
    let mut notes = scene.notes();
    notes.fetches.note(bytes, fetched - begun);
    notes.acks.note(0, acked - fetched);
    notes.acked.insert(id, acked);
    Ok(())
}
