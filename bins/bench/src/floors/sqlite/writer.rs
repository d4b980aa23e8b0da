//! The one thread that writes, at its barest.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::work::Work;
use crate::floors::FloorError;

/// How many pieces of work share one commit at most.
const GROUP: usize = 256;

/// Whether work that arrived meanwhile shares one commit, and so one sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Grouping {
    /// It does; so does ours.
    Together,
    /// Each piece of work has a commit of its own.
    Alone,
}

/// A way to the writing thread, which ends with the last of these.
#[derive(Debug, Clone)]
pub(super) struct Writer(Sender<Job>);

struct Job {
    work: Work,
    tell: oneshot::Sender<Result<(), FloorError>>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(connection: Connection, grouping: Grouping) -> Result<Self, FloorError> {
        let (work, jobs) = channel();
        thread::Builder::new()
            .name("floor-writer".to_owned())
            .spawn(move || write(&connection, &jobs, grouping))?;
        Ok(Self(work))
    }

    /// Answers when the work is on the disk.
    pub(super) async fn write(&self, work: Work) -> Result<(), FloorError> {
        let (tell, told) = oneshot::channel();
        let job = Job { work, tell };
        self.0.send(job).map_err(|_| FloorError::WriterGone)?;
        told.await.map_err(|_| FloorError::WriterGone)?
    }
}

fn write(connection: &Connection, jobs: &Receiver<Job>, grouping: Grouping) {
    while let Ok(first) = jobs.recv() {
        let mut group = vec![first];
        if grouping == Grouping::Together {
            group.extend(jobs.try_iter().take(GROUP - 1));
        }
        let committed = commit(connection, &group).map_err(|error| error.to_string());
        for job in group {
            // Whoever does not listen any more has its answer already.
            drop(job.tell.send(committed.clone().map_err(FloorError::Group)));
        }
    }
}

/// One that fails takes its group with it: a bare loop has no failures that it could go on after.
fn commit(connection: &Connection, group: &[Job]) -> Result<(), FloorError> {
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let worked = group.iter().try_for_each(|job| job.work.run(connection));
    let end = if worked.is_ok() { "COMMIT" } else { "ROLLBACK" };
    connection.prepare_cached(end)?.execute([])?;
    worked
}
