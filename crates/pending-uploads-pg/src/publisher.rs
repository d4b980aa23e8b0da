//! The publisher: what arrives while one publish commits is published together next.
//!
//! A publication that has all its bytes in memory joins a group; a few groups are under way at once.
//! Two of them never have the same workspace, whose counter's lock the one would only keep from the
//! other. Whatever a group passed by, and all of one that failed, publishes alone.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pending_uploads_core::{PendingUpload, Quota, WorkspaceId};
use tokio::sync::oneshot;

use crate::batch::{Attempt, publish_alone};
use crate::database::Database;
use crate::error::PgError;
use crate::group::{self, Fate};
use crate::publish::Publication;

/// How many groups are under way at once at the most.
const LANES: usize = 2;
/// How many publications make a group at the most, so that the first does not wait for too many.
const GROUP: usize = 64;
/// How many bytes of files a group has at the most, unless it is one publication.
const GROUP_BYTES: usize = 1024 * 1024;

/// Publishes in groups. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Publisher {
    queue: Arc<Mutex<Queue>>,
    quota: Quota,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Entry>,
    /// The workspaces of the groups that are under way.
    busy: HashSet<WorkspaceId>,
    lanes: usize,
}

#[derive(Debug)]
struct Entry {
    publication: Publication,
    tell: oneshot::Sender<Outcome>,
}

type Outcome = Result<Vec<PendingUpload>, PgError>;

impl Publisher {
    pub(crate) fn new(quota: Quota) -> Self {
        Self {
            queue: Arc::default(),
            quota,
        }
    }

    /// Publishes with others. A dropped future leaves it published or not.
    pub(crate) async fn publish(&self, database: &Database, publication: Publication) -> Outcome {
        let (tell, told) = oneshot::channel();
        let has_room = {
            let mut queue = self.queue();
            queue.waiting.push_back(Entry { publication, tell });
            queue.open_lane()
        };
        if has_room {
            let lane = self.clone().work_off(database.clone());
            drop(database.spawn(lane));
        }
        told.await.map_err(|_| PgError::Stopped)?
    }

    /// Publishes group after group until nothing is left that it may take.
    async fn work_off(self, database: Database) {
        while let Some(group) = self.next_group() {
            let workspaces: HashSet<_> = group.iter().map(Entry::workspace).collect();
            self.publish_group(&database, group).await;
            let mut queue = self.queue();
            queue
                .busy
                .retain(|workspace| !workspaces.contains(workspace));
        }
    }

    /// The next group; the lane is closed when there is none.
    fn next_group(&self) -> Option<Vec<Entry>> {
        let mut queue = self.queue();
        let group = queue.take_group();
        if group.is_empty() {
            queue.lanes -= 1;
            return None;
        }
        Some(group)
    }

    async fn publish_group(&self, database: &Database, group: Vec<Entry>) {
        let publications: Vec<&Publication> =
            group.iter().map(|entry| &entry.publication).collect();
        match group::publish(database, self.quota, &publications).await {
            Ok(fates) => {
                for (entry, fate) in group.into_iter().zip(fates) {
                    match fate {
                        Fate::Published => entry.published(database),
                        Fate::PassedBy => entry.go_alone(database, Attempt::First),
                    }
                }
            }
            // Each finds out for itself what is wrong; the group may have been committed.
            Err(_) => {
                for entry in group {
                    entry.go_alone(database, Attempt::Repeated);
                }
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it is held.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Whether one more lane may work, which is then counted.
    fn open_lane(&mut self) -> bool {
        let has_room = self.lanes < LANES;
        if has_room {
            self.lanes += 1;
        }
        has_room
    }

    /// Takes what may go together, oldest first, and marks its workspaces.
    fn take_group(&mut self) -> Vec<Entry> {
        let (mut group, mut bytes) = (Vec::new(), 0);
        let mut left = VecDeque::with_capacity(self.waiting.len());
        let mut fresh = HashSet::new();
        for entry in self.waiting.drain(..) {
            let size = entry.publication.bytes_in_memory();
            let fits = group.is_empty() || (group.len() < GROUP && bytes + size <= GROUP_BYTES);
            if fits && !self.busy.contains(&entry.workspace()) {
                bytes += size;
                fresh.insert(entry.workspace());
                group.push(entry);
            } else {
                left.push_back(entry);
            }
        }
        self.waiting = left;
        self.busy.extend(fresh);
        group
    }
}

impl Entry {
    fn workspace(&self) -> WorkspaceId {
        self.publication.workspace
    }

    fn published(self, database: &Database) {
        // Here, so that readers are woken even when the caller has gone away.
        database.announce(self.publication.workspace);
        drop(self.tell.send(Ok(self.publication.uploads)));
    }

    /// Publishes in a task of its own, so that its lane goes on with others.
    fn go_alone(self, database: &Database, attempt: Attempt) {
        let work = publish_alone(database.clone(), self.publication, attempt);
        let tell = self.tell;
        drop(database.spawn(async move {
            drop(tell.send(work.await));
        }));
    }
}
