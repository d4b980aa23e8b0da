//! Lanes: what is asked for while a statement is under way goes together in the next one.
//!
//! One request at a time costs a statement for each, as it would anyway. Of many at once, each lane
//! takes what has gathered, so that a statement, its round trip and its sync are shared. What no
//! request waits for is let gather for a moment. A group never waits for a lock: what it passed by, and
//! all of a group that failed, is done alone.
//!
//! What no lane has taken within the time that a connection is waited for is not done at all, and
//! neither is what nobody waits for any more.

use std::collections::{HashSet, VecDeque};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deadpool_postgres::{PoolError, TimeoutType};
use pending_uploads_core::WorkspaceId;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::batch::Attempt;
use crate::database::{Database, POOL_WAIT};
use crate::error::PgError;

/// How many groups of one kind are under way at once at the most.
const LANES: usize = 2;
/// How many pieces of work make a group at the most, so that the first does not wait for too many.
const GROUP: usize = 64;

/// A kind of work that can be done for many at once.
pub(crate) trait Grouped: Debug + Send + Sync + 'static {
    /// What is asked for.
    type Ask: Debug + Send + Sync + 'static;
    /// What is answered.
    type Answer: Debug + Send + 'static;

    /// How many bytes a group carries at the most, unless it is one piece of work.
    const GROUP_BYTES: usize = 1024 * 1024;

    /// How long a lane pauses after a group, unless the next is full already, so that more goes
    /// together: for work that no request waits for.
    const PAUSE: Duration = Duration::ZERO;

    /// Does all of it by one statement; what is answered by none is to be done alone.
    fn together(
        &self,
        database: &Database,
        asks: &[Self::Ask],
    ) -> impl Future<Output = Result<Vec<Option<Self::Answer>>, PgError>> + Send;

    /// Does one piece of it, and waits for whatever it must.
    fn alone(
        &self,
        database: &Database,
        ask: Self::Ask,
        attempt: Attempt,
    ) -> impl Future<Output = Result<Self::Answer, PgError>> + Send;

    /// The workspace that no two groups may have at once, if there is one.
    fn exclusive(_: &Self::Ask) -> Option<WorkspaceId> {
        None
    }

    /// How many bytes it carries, or may be answered.
    fn bytes(_: &Self::Ask) -> usize {
        0
    }
}

/// Does one kind of work in groups. Clones share them.
#[derive(Debug)]
pub(crate) struct Lanes<K: Grouped> {
    shared: Arc<Shared<K>>,
}

#[derive(Debug)]
struct Shared<K: Grouped> {
    kind: K,
    /// How long a piece of work waits for a lane at the most.
    patience: Duration,
    queue: Mutex<Queue<K>>,
}

#[derive(Debug)]
struct Queue<K: Grouped> {
    /// In the order of their numbers.
    waiting: VecDeque<Entry<K>>,
    next_number: u64,
    /// The exclusive workspaces of the groups that are under way.
    busy: HashSet<WorkspaceId>,
    lanes: usize,
}

#[derive(Debug)]
struct Entry<K: Grouped> {
    number: u64,
    ask: K::Ask,
    tell: oneshot::Sender<Result<K::Answer, PgError>>,
}

/// The place of a piece of work in the queue, which is left when whoever asked goes away.
struct Place<'a, K: Grouped> {
    lanes: &'a Lanes<K>,
    number: u64,
}

impl<K: Grouped> Clone for Lanes<K> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<K: Grouped> Lanes<K> {
    pub(crate) fn new(kind: K) -> Self {
        Self::with_patience(kind, POOL_WAIT)
    }

    fn with_patience(kind: K, patience: Duration) -> Self {
        let queue = Queue {
            waiting: VecDeque::new(),
            next_number: 0,
            busy: HashSet::new(),
            lanes: 0,
        };
        let shared = Shared {
            kind,
            patience,
            queue: Mutex::new(queue),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Does the work, with others' if there are any. A dropped future leaves it done or not; when no
    /// lane has taken it yet, it is not.
    pub(crate) async fn run(&self, database: &Database, ask: K::Ask) -> Result<K::Answer, PgError> {
        let (tell, mut told) = oneshot::channel();
        let (place, is_free) = {
            let mut queue = self.queue();
            let number = queue.push(ask, tell);
            let place = Place {
                lanes: self,
                number,
            };
            (place, queue.open_lane())
        };
        if is_free {
            drop(database.spawn(self.clone().work_off(database.clone())));
        }
        let answer = match timeout(self.shared.patience, &mut told).await {
            Ok(answer) => answer,
            Err(_) if place.leave() => return Err(waited_in_vain(TimeoutType::Wait)),
            // It is under way, and what is under way has deadlines of its own.
            Err(_) => told.await,
        };
        answer.map_err(|_| PgError::Stopped)?
    }

    /// Does group after group until nothing is left that may be taken.
    async fn work_off(self, database: Database) {
        while let Some((group, workspaces)) = self.next_group() {
            // In a task of its own: should it panic, those who asked are told, and the lane goes on.
            drop(
                database
                    .spawn(self.clone().do_group(database.clone(), group))
                    .await,
            );
            let next_is_full = {
                let mut queue = self.queue();
                queue
                    .busy
                    .retain(|workspace| !workspaces.contains(workspace));
                queue.waiting.len() >= GROUP
            };
            if !next_is_full && !K::PAUSE.is_zero() {
                sleep(K::PAUSE).await;
            }
        }
    }

    /// The next group and its exclusive workspaces; the lane is closed when there is none.
    fn next_group(&self) -> Option<(Vec<Entry<K>>, HashSet<WorkspaceId>)> {
        let mut queue = self.queue();
        let (group, workspaces) = queue.take_group();
        if group.is_empty() {
            queue.lanes -= 1;
            return None;
        }
        Some((group, workspaces))
    }

    async fn do_group(self, database: Database, group: Vec<Entry<K>>) {
        let (asks, tells): (Vec<_>, Vec<_>) = group
            .into_iter()
            .map(|entry| (entry.ask, entry.tell))
            .unzip();
        let answered = self.shared.kind.together(&database, &asks).await;
        let (answers, attempt) = match answered {
            Ok(answers) => (answers, Attempt::First),
            // They have all waited for a connection, and none of them needs to do so again.
            Err(PgError::Pool(PoolError::Timeout(kind))) => {
                for tell in tells {
                    drop(tell.send(Err(waited_in_vain(kind))));
                }
                return;
            }
            // Each finds out for itself what is wrong; the group may have been committed.
            Err(_) => (Vec::new(), Attempt::Repeated),
        };
        let answers = answers.into_iter().chain(std::iter::repeat_with(|| None));
        for ((ask, tell), answer) in asks.into_iter().zip(tells).zip(answers) {
            match answer {
                Some(answer) => drop(tell.send(Ok(answer))),
                None => self.go_alone(&database, ask, tell, attempt),
            }
        }
    }

    /// Does one piece of work in a task of its own, so that the lane goes on with others.
    fn go_alone(
        &self,
        database: &Database,
        ask: K::Ask,
        tell: oneshot::Sender<Result<K::Answer, PgError>>,
        attempt: Attempt,
    ) {
        let (lanes, own) = (self.clone(), database.clone());
        drop(database.spawn(async move {
            let outcome = lanes.shared.kind.alone(&own, ask, attempt).await;
            drop(tell.send(outcome));
        }));
    }

    fn queue(&self) -> MutexGuard<'_, Queue<K>> {
        // Nothing panics while it is held.
        let queue = self.shared.queue.lock();
        queue.unwrap_or_else(PoisonError::into_inner)
    }
}

/// As if each had waited for a connection of its own.
fn waited_in_vain(kind: TimeoutType) -> PgError {
    PgError::Pool(PoolError::Timeout(kind))
}

impl<K: Grouped> Place<'_, K> {
    /// Takes the work out of the queue; answers whether it was still there.
    fn leave(&self) -> bool {
        let mut queue = self.lanes.queue();
        let number = |entry: &Entry<K>| entry.number;
        let found = queue.waiting.binary_search_by_key(&self.number, number);
        found.is_ok_and(|at| queue.waiting.remove(at).is_some())
    }
}

/// What nobody waits for is not done, and takes no room.
impl<K: Grouped> Drop for Place<'_, K> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<K: Grouped> Queue<K> {
    /// Adds a piece of work behind the others, and answers its number.
    fn push(&mut self, ask: K::Ask, tell: oneshot::Sender<Result<K::Answer, PgError>>) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        self.waiting.push_back(Entry { number, ask, tell });
        number
    }

    /// Whether one more lane may work, which is then counted.
    fn open_lane(&mut self) -> bool {
        let is_free = self.lanes < LANES;
        if is_free {
            self.lanes += 1;
        }
        is_free
    }

    /// Takes what may go together, oldest first, and marks its exclusive workspaces.
    fn take_group(&mut self) -> (Vec<Entry<K>>, HashSet<WorkspaceId>) {
        let (mut group, mut bytes) = (Vec::new(), 0);
        let mut left = VecDeque::with_capacity(self.waiting.len());
        let mut workspaces = HashSet::new();
        for entry in self.waiting.drain(..) {
            let (workspace, size) = (K::exclusive(&entry.ask), K::bytes(&entry.ask));
            let fits = group.is_empty() || (group.len() < GROUP && bytes + size <= K::GROUP_BYTES);
            let is_busy = workspace.is_some_and(|workspace| self.busy.contains(&workspace));
            if fits && !is_busy {
                bytes += size;
                workspaces.extend(workspace);
                group.push(entry);
            } else {
                left.push_back(entry);
            }
        }
        self.waiting = left;
        self.busy.extend(&workspaces);
        (group, workspaces)
    }
}

#[cfg(test)]
mod tests;
