//! Asking the platform what waits: the state, not the cursor, is the truth.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use log::warn;
use pending_uploads_core::{ActivityType, FileId, Report};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::Engine;
use super::files::Settled;
use super::health::{PlatformState, Route};
use super::setback::asked;
use crate::platform::{CallError, FeedCursor, FeedQuery, RowContent, WaitingList};
use crate::retry::Backoff;
use crate::{RetryPolicy, Scope};

/// How many of the newest expiries are looked at, to tell a file that expired from one that is gone.
const EXPIRIES_LOOKED_AT: u32 = 500;

/// What the platform listed.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// The number of the list that was asked for last.
    asked: AtomicU64,
    /// The number of the newest list that came.
    newest: AtomicU64,
    /// Held while a list is asked for.
    turn: tokio::sync::Mutex<()>,
    /// The files in it.
    names: Mutex<Names>,
    wanted: Notify,
}

/// The files in a list.
#[derive(Debug, Default)]
struct Names {
    /// All of them, whatever else can be read.
    all: HashSet<FileId>,
    /// Those of which nothing else can be read.
    unreadable: Vec<FileId>,
}

impl Lists {
    /// Wants a list soon.
    pub(super) fn poke(&self) {
        self.wanted.notify_one();
    }

    /// The number of the list that was asked for last.
    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    /// Whether a list that was asked for after the one of that number is there and does not name a
    /// file.
    pub(super) fn omit_since(&self, number: u64, file_id: FileId) -> bool {
        self.newest.load(Ordering::SeqCst) > number && !self.names(file_id)
    }

    /// Whether the newest list names a file.
    pub(super) fn names(&self, file_id: FileId) -> bool {
        self.lock().all.contains(&file_id)
    }

    /// The files of which nothing but the name can be read in the newest list.
    pub(super) fn unreadable(&self) -> Vec<FileId> {
        self.lock().unreadable.clone()
    }

    /// Notes what the list of that number names.
    fn came(&self, number: u64, list: &WaitingList) {
        let readable = list.files.iter().map(|file| file.file_id);
        *self.lock() = Names {
            all: readable.chain(list.unreadable.iter().copied()).collect(),
            unreadable: list.unreadable.clone(),
        };
        self.newest.store(number, Ordering::SeqCst);
    }

    /// A task that panicked with the lock left names that are as right as before.
    fn lock(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Asks what waits, at the start, when it is wanted, and every few minutes.
    pub(super) async fn reconcile_for_ever(self: Arc<Self>) {
        let RetryPolicy { first, longest, .. } = self.options.retry;
        let mut backoff = Backoff::new(self.options.retry);
        let mut moment = first;
        loop {
            if let Err(failure) = self.list_anew().await {
                let asked = asked(&failure);
                self.log_failure(&failure);
                self.pause(backoff.next(asked), asked).await;
                continue;
            }
            backoff.reset();
            // Files that fail again and again do not have it asked for again and again.
            sleep(moment).await;
            moment = tokio::select! {
                () = self.lists.wanted.notified() => moment.saturating_mul(2).min(longest),
                () = sleep(self.options.reconcile_every) => first,
            };
        }
    }

    /// Asks what waits, for an inbox that ends.
    pub(super) async fn reconcile_once(self: Arc<Self>) {
        let mut backoff = Backoff::new(self.options.retry);
        for attempts in 1_u32.. {
            let Err(failure) = self.list_anew().await else {
                return;
            };
            self.log_failure(&failure);
            let asked = asked(&failure);
            if self.gives_up(attempts, asked) {
                return self.leftovers.found();
            }
            self.pause(backoff.next(asked), asked).await;
        }
    }

    /// Sees to it that there is a list that was asked for after this call began, and that what it
    /// names is being taken. Calls that come while one is asked for share the next.
    pub(super) async fn list_anew(self: &Arc<Self>) -> Result<(), CallError> {
        let asked_before = self.lists.asked();
        let _turn = self.lists.turn.lock().await;
        if self.lists.newest.load(Ordering::SeqCst) > asked_before {
            return Ok(());
        }
        let number = self.lists.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let listed = self.platform.waiting().await;
        self.note(Route::List, &listed);
        let listed = listed?;
        self.lists.came(number, &listed);
        for file in listed.files {
            self.take_listed(file);
        }
        // Otherwise the feed, which may say more of them, has its say first.
        if self.options.scope == Scope::WaitingFiles {
            let is_lost = |file_id| self.files.settled(file_id) == Some(Settled::Lost);
            if listed.unreadable.iter().copied().any(is_lost) {
                self.leftovers.found();
            }
            self.refuse_all(listed.unreadable);
        }
        self.discard_partials().await;
        Ok(())
    }

    /// Notes how the platform answered a call that tells how it is.
    pub(super) fn note<T>(&self, route: Route, answer: &Result<T, CallError>) {
        let state = match answer {
            Err(CallError::Unauthorized | CallError::NoToken(_)) => PlatformState::Unauthorized,
            Err(CallError::CursorGone) | Ok(_) => PlatformState::Answers,
            Err(_) => PlatformState::Unreachable,
        };
        self.health.platform(route, state);
    }

    /// The files that expired lately, as far as the feed says so.
    pub(super) async fn expired_files(&self) -> Result<HashSet<FileId>, CallError> {
        let query = FeedQuery {
            after: FeedCursor::Newest,
            kind: ActivityType::CHAT_UPLOAD_EXPIRED,
            wait: Duration::ZERO,
            limit: EXPIRIES_LOOKED_AT,
        };
        let rows = self.platform.feed(&query).await?;
        let expired = rows.into_iter().filter_map(|row| match row.content {
            RowContent::Expiry(file_id) => Some(file_id),
            _ => None,
        });
        Ok(expired.collect())
    }

    /// Partials of files that nobody is waiting for any more take up room.
    async fn discard_partials(&self) {
        let (folder, waiting) = (self.folder.clone(), self.files.waiting());
        let workspace_id = self.workspace_id;
        let discard = move || folder.discard_partials(workspace_id, &waiting);
        let discarded = spawn_blocking(discard).await;
        if let Ok(Err(error)) = discarded {
            warn!(workspace_id:% = self.workspace_id, error:% = error; "old partials could not be removed");
        }
    }

    fn log_failure(&self, failure: &CallError) {
        warn!(workspace_id:% = self.workspace_id, error:% = Report(failure); "list failed");
    }
}
