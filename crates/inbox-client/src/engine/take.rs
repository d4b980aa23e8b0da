//! One file, from the moment that it is known until it has arrived or is lost.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use log::{debug, info, warn};
use pending_uploads_core::{FileId, PendingUri, Report, Timestamp};
use tokio::time::sleep;

use super::Engine;
use super::feed::Age;
use super::files::{Claim, Listed};
use super::health::DiskState;
use super::quiet::TooLong;
use super::setback::{Progress, Setback, Setbacks};
use super::turn::Turn;
use crate::journal::{ArrivedFile, Entry, LostFile};
use crate::platform::CallError;
use crate::retry::Backoff;
use crate::{Event, FileArrived, FileLost, LostReason, Scope, WaitingFile};

/// How often an inbox that ends tries something before it leaves it.
pub(super) const ATTEMPTS_OF_ONE_THAT_ENDS: u32 = 5;

impl Engine {
    /// Takes a file that the feed announces, unless it is known already.
    pub(super) fn take_announced(self: &Arc<Self>, file: WaitingFile) {
        if self.files.begin(file.file_id) == Claim::Taken {
            self.spawn(Arc::clone(self).take(file));
        }
    }

    /// Takes or acks a file that the platform lists, as far as that is to be done.
    pub(super) fn take_listed(self: &Arc<Self>, file: WaitingFile) {
        let max = self.options.limits.max_file_bytes;
        match self.files.listed(file.file_id, file.size_bytes, max) {
            Listed::Take => self.spawn(Arc::clone(self).take(file)),
            Listed::Ack(sha256) => self.spawn(Arc::clone(self).ack_again(file.file_id, sha256)),
            Listed::PassOver => self.leftovers.found(),
            Listed::Nothing => {}
        }
    }

    /// Tries until the file has arrived or is lost.
    async fn take(self: Arc<Self>, file: WaitingFile) {
        let mut backoff = Backoff::new(self.options.retry);
        let mut setbacks = Setbacks::default();
        let listed_before = self.lists.asked();
        for attempts in 1_u32.. {
            let Ok(mut turn) = self.turn().await else {
                return self.leftovers.found();
            };
            let setback = match self.try_once(&file, &mut turn).await {
                Ok(path) => {
                    drop(turn);
                    return self.arrive(file, path).await;
                }
                Err(setback) => setback,
            };
            let is_missing = matches!(setback, Setback::Call(CallError::NotFound, _))
                || self.lists.omit_since(listed_before, file.file_id);
            let reason = if is_missing {
                self.why_it_is_gone(&file).await
            } else {
                setbacks.count(&setback)
            };
            if let Some(reason) = reason {
                return self.lose(lost(&file, reason, self.clock.now())).await;
            }
            let asked = setback.asked();
            if self.gives_up(attempts, asked) {
                return self.leftovers.found();
            }
            self.lists.poke();
            if matches!(setback, Setback::Call(_, Progress::Some)) {
                backoff.reset();
            }
            let delay = backoff.next(asked);
            log_setback(&file, &setback, attempts, delay.as_millis());
            // Its place stays taken for a moment: many files that fail at once are no storm.
            let moment = delay.min(self.options.retry.first);
            sleep(moment).await;
            drop(turn);
            self.pause(delay.saturating_sub(moment), asked).await;
        }
    }

    async fn try_once(&self, file: &WaitingFile, turn: &mut Turn<'_>) -> Result<PathBuf, Setback> {
        let attempt = self.attempt(file, turn).await;
        match &attempt {
            Ok(_) => self.health.disk(DiskState::Roomy),
            Err(Setback::NoRoom) => self.health.disk(DiskState::Full),
            Err(Setback::DiskFull) => self.health.disk(DiskState::Refusing),
            Err(setback) => self.heed(setback.asked()),
        }
        attempt
    }

    /// Why a file is gone that seems to be; none when it is not. That it is not there is believed when
    /// the platform does not list it either.
    async fn why_it_is_gone(self: &Arc<Self>, file: &WaitingFile) -> Option<LostReason> {
        if self.list_anew().await.is_err() || self.lists.names(file.file_id) {
            return None;
        }
        // Another inbox that shares the folder may have taken it meanwhile.
        if !matches!(self.find(file).await, Ok(None)) {
            return None;
        }
        if file.expires_at.is_some_and(|end| end <= self.clock.now()) {
            return Some(LostReason::Expired);
        }
        let expired = self.expired_files().await.ok()?;
        Some(reason(&expired, file.file_id))
    }

    /// Whether an inbox that ends leaves what failed so often, or is to be left alone for so long.
    pub(super) fn gives_up(&self, attempts: u32, asked: Option<Duration>) -> bool {
        let too_long = asked.is_some_and(|asked| asked > self.options.retry.longest);
        let ends = self.options.scope == Scope::WaitingFiles;
        ends && (too_long || attempts >= ATTEMPTS_OF_ONE_THAT_ENDS)
    }

    /// Waits until the platform is to be left alone no longer; an inbox that ends does not wait for
    /// longer than it would after a failure.
    pub(super) async fn quiet_is_over(&self) -> Result<(), TooLong> {
        let patience = match self.options.scope {
            Scope::WaitingFiles => self.options.retry.longest,
            Scope::Everything | Scope::Files => Duration::MAX,
        };
        self.quiet.over(patience).await
    }

    /// Settles files that were announced and that a later list does not name: one question for all
    /// of them, instead of a fetch for each.
    ///
    /// What an inbox without a past finds gone was somebody else's, or an earlier inbox's whose journal
    /// is lost: that is nobody's loss, and is not told.
    pub(super) async fn settle_unlisted(
        self: &Arc<Self>,
        files: Vec<(WaitingFile, Age)>,
    ) -> Result<(), CallError> {
        let expired = self.expired_files().await?;
        for (file, age) in files {
            if self.files.begin(file.file_id) == Claim::Known {
                continue;
            }
            let reason = reason(&expired, file.file_id);
            let engine = Arc::clone(self);
            self.spawn(async move {
                if let Some(path) = engine.find_patiently(&file).await {
                    return engine.arrive(file, path).await;
                }
                match (age, reason) {
                    (Age::Past, LostReason::Gone) => {
                        debug!(workspace_id:% = file.workspace_id, file_id:% = file.file_id; "gone before this inbox began");
                        engine.files.settle_lost(file.file_id, reason);
                    }
                    _ => engine.lose(lost(&file, reason, engine.clock.now())).await,
                }
            });
        }
        Ok(())
    }

    /// The file is on the disk: that is written down first; then the platform and the embedder are
    /// told, neither waiting for the other.
    async fn arrive(self: &Arc<Self>, file: WaitingFile, path: PathBuf) {
        let arrived = ArrivedFile {
            arrived_at: self.clock.now(),
            file,
            path,
        };
        let file = &arrived.file;
        let (file_id, sha256) = (file.file_id, file.sha256);
        if self
            .book
            .write(vec![Entry::Arrived(arrived.clone())])
            .await
            .is_err()
        {
            return;
        }
        info!(
            workspace_id:% = file.workspace_id,
            file_id:% = file_id,
            filename:% = file.filename,
            size_bytes = file.size_bytes.get();
            "arrived"
        );
        let told = async {
            let event = Event::FileArrived(FileArrived::from(&arrived));
            self.tell(file_id, event).await;
            // After the event, so that no message that mentions the file comes before it.
            self.files
                .settle_here(file_id, arrived.path.clone(), sha256);
        };
        let (acked, ()) = tokio::join!(self.ack(file_id, sha256), told);
        self.files.ack_ended(file_id, acked);
    }

    /// The file will not arrive: that is written down, and told, unless it was lost before.
    pub(super) async fn lose(&self, lost: LostFile) {
        let (file_id, reason) = (lost.uri.file_id, lost.reason);
        if goes_on_waiting(reason) {
            self.leftovers.found();
        }
        self.discard_partial(file_id).await;
        if !self.files.was_lost_before(file_id) {
            if self
                .book
                .write(vec![Entry::Lost(lost.clone())])
                .await
                .is_err()
            {
                return;
            }
            warn!(
                workspace_id:% = lost.uri.workspace_id,
                file_id:% = file_id,
                reason = reason.as_str();
                "lost"
            );
            self.tell(file_id, Event::FileLost(FileLost::from(&lost)))
                .await;
        }
        self.files.settle_lost(file_id, reason);
        // A disk that was too full for what is lost is in nobody's way.
        if self.files.waiting().is_empty() {
            self.health.disk(DiskState::Roomy);
        }
    }
}

/// Whether a file that is lost still waits on the platform.
fn goes_on_waiting(reason: LostReason) -> bool {
    match reason {
        LostReason::TooLarge | LostReason::Refused | LostReason::Damaged => true,
        LostReason::Expired | LostReason::Gone => false,
    }
}

/// What is written down of a file that is lost.
fn lost(file: &WaitingFile, reason: LostReason, now: Timestamp) -> LostFile {
    LostFile {
        name: Some(file.filename.as_str().to_owned()),
        original_name: Some(file.filename.original().to_owned()),
        size: Some(file.size_bytes.get()),
        ..lost_unknown(file.uri(), reason, now)
    }
}

/// What is written down of a lost file of which nothing but the URI is known.
pub(super) fn lost_unknown(uri: PendingUri, reason: LostReason, now: Timestamp) -> LostFile {
    LostFile {
        uri,
        reason,
        name: None,
        original_name: None,
        size: None,
        lost_at: now,
    }
}

fn reason(expired: &HashSet<FileId>, file_id: FileId) -> LostReason {
    if expired.contains(&file_id) {
        LostReason::Expired
    } else {
        LostReason::Gone
    }
}

fn log_setback(file: &WaitingFile, setback: &Setback, attempts: u32, pause_ms: u128) {
    warn!(
        workspace_id:% = file.workspace_id,
        file_id:% = file.file_id,
        error:% = Report(setback),
        attempts,
        pause_ms;
        "fetch failed"
    );
}
