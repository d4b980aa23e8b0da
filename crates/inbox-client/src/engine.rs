//! The tasks of an inbox, and what they share.
//!
//! Each file that waits has a task of its own (`take`), of which a few at a time fetch. One task
//! reads the feed (`feed`), one hands its messages on in order (`handover`), one moves the cursor
//! behind what is done (`cursor`), one asks now and then what waits (`reconcile`), and one keeps which
//! events about files were confirmed (`confirmations`). They share what is known of every file
//! (`files`), how the platform and the disk do (`health`), and the journal (`book`).
//!
//! An engine lives as long as one of its tasks does. When the last one is over, the events end.

mod ack;
mod book;
mod confirmations;
mod cursor;
mod feed;
mod fetch;
mod files;
mod handover;
mod health;
mod quiet;
mod reconcile;
mod room;
mod setback;
mod take;
mod turn;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pending_uploads_core::{ActivityId, Clock, FileId, Seq, WorkspaceId};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::folder::Folder;
use crate::inbox::Delivery;
use crate::journal::{JournalWriter, Position, Records};
use crate::observer::Observer;
use crate::platform::PlatformWorkspace;
use crate::{Condition, Event, FetchLimits, RetryPolicy, Scope};

use book::{Book, Patience};
use confirmations::Confirmed;
use files::Files;
use health::Health;
use quiet::Quiet;
use reconcile::Lists;
use room::Room;
use turn::DiskTurns;

pub(crate) use confirmations::Confirmation;

/// How many events may wait for the embedder to look at them.
const EVENTS_WAITING: usize = 16;

/// What an inbox was built with.
pub(crate) struct Parts {
    pub(crate) workspace_id: WorkspaceId,
    pub(crate) platform: PlatformWorkspace,
    pub(crate) folder: Folder,
    pub(crate) journal: JournalWriter,
    pub(crate) records: Records,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) options: Options,
}

/// The settings that the tasks look at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub(crate) limits: FetchLimits,
    pub(crate) parallel_fetches: NonZeroUsize,
    pub(crate) retry: RetryPolicy,
    pub(crate) reconcile_every: Duration,
    pub(crate) wait: Duration,
    pub(crate) scope: Scope,
}

/// What all tasks of an inbox share.
struct Engine {
    workspace_id: WorkspaceId,
    platform: PlatformWorkspace,
    folder: Folder,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    options: Options,
    book: Book,
    files: Files,
    health: Arc<Health>,
    quiet: Quiet,
    lists: Lists,
    confirmed: Confirmed,
    events: mpsc::Sender<Delivery>,
    /// Whether every event that was not confirmed before was told again.
    told_again: watch::Sender<bool>,
    /// Fetches at once.
    slots: Semaphore,
    /// Acks at once, beside the fetches.
    ack_slots: Semaphore,
    room: Room,
    disk_turns: DiskTurns,
    leftovers: Arc<Leftovers>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Whether an inbox that ends by itself leaves a file waiting.
#[derive(Debug, Default)]
struct Leftovers(AtomicBool);

impl Leftovers {
    fn found(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A running engine, as its inbox sees it.
#[derive(Debug)]
pub(crate) struct Running {
    events: mpsc::Receiver<Delivery>,
    conditions: watch::Receiver<Condition>,
    journal: JournalWriter,
    leftovers: Arc<Leftovers>,
    /// Dropped with its inbox, it stops every task.
    stop: DropGuard,
    tasks: TaskTracker,
}

/// How an inbox ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// Each file that waited at the start has arrived and is acked, or is not there any more
    /// ([`Scope::WaitingFiles`]).
    AllTaken,
    /// The platform could not be asked, or a file could not be taken or acked for now, or is lost
    /// and still waits, as one that is too large does ([`Scope::WaitingFiles`]).
    LeftWaiting,
    /// It was stopped.
    Stopped,
    /// Its journal could not be written.
    Broken,
}

impl Running {
    /// Starts all tasks. Must be called within a tokio runtime.
    pub(crate) fn start(parts: Parts) -> Self {
        let (events, receiver) = mpsc::channel(EVENTS_WAITING);
        let (confirmed, confirmations) = Confirmed::new();
        let health = Arc::new(Health::new(parts.workspace_id));
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let leftovers = Arc::new(Leftovers::default());
        let book = Book {
            journal: parts.journal.clone(),
            health: Arc::clone(&health),
            retry: parts.options.retry,
            stop: stop.clone(),
            patience: match parts.options.scope {
                Scope::WaitingFiles => Patience::Attempts(take::ATTEMPTS_OF_ONE_THAT_ENDS),
                Scope::Everything | Scope::Files => Patience::Endless,
            },
        };
        tasks.spawn(confirmations.keep(book.clone()));
        let running = Self {
            events: receiver,
            conditions: health.conditions(),
            journal: parts.journal,
            leftovers: Arc::clone(&leftovers),
            stop: stop.clone().drop_guard(),
            tasks: tasks.clone(),
        };
        let engine = Arc::new(Engine {
            workspace_id: parts.workspace_id,
            platform: parts.platform,
            folder: parts.folder,
            clock: parts.clock,
            observer: parts.observer,
            options: parts.options,
            book,
            files: Files::restore(&parts.records),
            disk_turns: DiskTurns::new(Arc::clone(&health)),
            health,
            quiet: Quiet::default(),
            lists: Lists::default(),
            confirmed,
            events,
            told_again: watch::Sender::new(false),
            slots: Semaphore::new(parts.options.parallel_fetches.get()),
            ack_slots: Semaphore::new(parts.options.parallel_fetches.get()),
            room: Room::default(),
            leftovers,
            stop,
            tasks,
        });
        engine.start(&parts.records);
        running
    }

    /// The next event; none when there will be no more.
    pub(crate) async fn next(&mut self) -> Option<Delivery> {
        self.events.recv().await
    }

    /// The next event, for a stream.
    pub(crate) fn poll_next(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Delivery>> {
        self.events.poll_recv(context)
    }

    /// The condition, now and as it changes.
    pub(crate) fn conditions(&self) -> &watch::Receiver<Condition> {
        &self.conditions
    }

    /// Stops every task, and waits until the journal has all that was confirmed.
    pub(crate) async fn close(self) -> Ending {
        // When the events have ended by themselves, no task but those that keep is left.
        let stop = self.stop.disarm();
        let ended = self.events.is_closed() && !stop.is_cancelled();
        stop.cancel();
        drop(self.events);
        self.tasks.close();
        self.tasks.wait().await;
        self.journal.close().await;
        let left = self.leftovers.0.load(Ordering::Acquire);
        match (*self.conditions.borrow(), ended, left) {
            (Condition::Broken, _, _) => Ending::Broken,
            (_, false, _) => Ending::Stopped,
            (_, true, true) => Ending::LeftWaiting,
            (_, true, false) => Ending::AllTaken,
        }
    }
}

impl Engine {
    /// What was not confirmed is told again; meanwhile files arrive already, whoever looks.
    fn start(self: Arc<Self>, records: &Records) {
        let unconfirmed = confirmations::unconfirmed(records);
        let engine = Arc::clone(&self);
        self.spawn(async move { engine.tell_again(unconfirmed).await });
        let engine = Arc::clone(&self);
        let (cursor, ahead) = (records.cursor, records.confirmed_ahead.clone());
        self.spawn(async move { engine.start_tasks(cursor, ahead).await });
    }

    async fn tell_again(&self, unconfirmed: Vec<(FileId, Event)>) {
        for (file_id, event) in unconfirmed {
            // Only an embedder that is gone does not take it.
            drop(self.events.send(self.about_file(file_id, event)).await);
        }
        self.told_again.send_replace(true);
    }

    async fn start_tasks(
        self: Arc<Self>,
        cursor: Option<Position>,
        ahead: HashMap<ActivityId, Seq>,
    ) {
        self.ack_what_is_due();
        match self.options.scope {
            Scope::Everything => {
                let (rows, handed_over) = (feed::pages(), cursor::rows());
                self.spawn(Arc::clone(&self).read_feed(cursor, rows.0));
                self.spawn(Arc::clone(&self).hand_over(rows.1, handed_over.0, ahead));
                // It keeps what is confirmed while everything else stops.
                self.tasks
                    .spawn(Arc::clone(&self).move_cursor(handed_over.1));
                self.reconcile_for_ever().await;
            }
            Scope::Files => {
                self.spawn(Arc::clone(&self).watch_feed());
                self.reconcile_for_ever().await;
            }
            Scope::WaitingFiles => self.reconcile_once().await,
        }
    }

    /// Runs a task until it is over or the inbox stops.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let until_stopped = self.stop.clone().run_until_cancelled_owned(task);
        self.tasks.spawn(until_stopped);
    }

    /// Hands an event about a file to the embedder, as [`deliver`](Self::deliver) does.
    async fn tell(&self, file_id: FileId, event: Event) {
        self.deliver(self.about_file(file_id, event)).await;
    }

    /// Hands an event to the embedder, behind those that are told again; waits while it has enough to
    /// look at.
    async fn deliver(&self, delivery: Delivery) {
        // The sender lives as long as this value, so that the wait does not fail.
        drop(self.told_again.subscribe().wait_for(|told| *told).await);
        // Only an embedder that is gone does not take it, and then it is told at the next start.
        drop(self.events.send(delivery).await);
    }

    fn about_file(&self, file_id: FileId, event: Event) -> Delivery {
        let confirmation = self.confirmed.of_file(file_id, &event);
        Delivery::new(self.workspace_id, event, confirmation)
    }

    /// Notes how long the platform asked to be left alone, as far as that is heeded.
    fn heed(&self, asked: Option<Duration>) {
        if let Some(asked) = asked {
            let heeded = asked.min(self.options.retry.longest_asked);
            self.quiet.asked_for(heeded);
        }
    }

    /// Waits before something is tried again; shorter when the platform has come back meanwhile.
    async fn pause(&self, delay: Duration, asked: Option<Duration>) {
        tokio::select! {
            () = sleep(delay) => {}
            () = self.health.platform_comes_back(), if asked.is_none() => {}
        }
    }
}
