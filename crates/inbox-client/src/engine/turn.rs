//! Whose turn it is to be fetched.

use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard, SemaphorePermit};

use super::Engine;
use super::health::Health;
use super::quiet::TooLong;
use crate::Scope;

/// While the disk is full, one file at a time is tried.
#[derive(Debug)]
pub(super) struct DiskTurns {
    health: Arc<Health>,
    one: Mutex<()>,
}

/// The turn of the one file that is tried on a full disk.
#[derive(Debug)]
pub(super) struct DiskTurn<'a> {
    _one: MutexGuard<'a, ()>,
}

impl DiskTurns {
    pub(super) fn new(health: Arc<Health>) -> Self {
        Self {
            health,
            one: Mutex::new(()),
        }
    }

    /// Waits until the disk is not full any more, which needs no turn, or until it is the caller's
    /// turn to find out.
    pub(super) async fn next(&self) -> Option<DiskTurn<'_>> {
        let turn = tokio::select! {
            biased;
            () = self.health.disk_has_room() => return None,
            turn = self.one.lock() => DiskTurn { _one: turn },
        };
        // Whoever had it before may have found room just now.
        self.health.disk_is_full().then_some(turn)
    }
}

/// A file's turn to be fetched. Dropping it gives the place to the next.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    disk: Option<DiskTurn<'a>>,
    _slot: Option<SemaphorePermit<'a>>,
}

impl Turn<'_> {
    /// The file has found room: the others wait for it no longer, however long its bytes take.
    pub(super) fn found_room(&mut self) {
        self.disk = None;
    }
}

impl Engine {
    /// Waits until a file may be fetched: nothing is in the way, and there is a place. While the disk is
    /// full, one file at a time has a turn.
    ///
    /// # Errors
    /// [`TooLong`] when an inbox that ends leaves the file waiting instead.
    pub(super) async fn turn(&self) -> Result<Turn<'_>, TooLong> {
        if self.options.scope != Scope::WaitingFiles {
            self.health.platform_answers().await;
        }
        // What arrived could not be written down.
        self.health.journal_has_room().await;
        let disk = self.disk_turns.next().await;
        // Nobody closes the slots, so that one always comes.
        let slot = self.slots.acquire().await.ok();
        // With the slot, so that no more fetches than slots come when the time is over.
        self.quiet_is_over().await?;
        Ok(Turn { disk, _slot: slot })
    }
}

#[cfg(test)]
mod tests {
    use pending_uploads_core::WorkspaceId;

    use super::super::health::DiskState;
    use super::*;

    fn turns() -> (Arc<Health>, DiskTurns) {
        let health = Arc::new(Health::new(WorkspaceId::generate()));
        (Arc::clone(&health), DiskTurns::new(health))
    }

    #[tokio::test]
    async fn all_go_on_when_one_finds_room_while_it_is_still_being_fetched() {
        let (health, turns) = turns();
        assert!(turns.next().await.is_none());
        health.disk(DiskState::Full);
        let first = turns.next().await;
        assert!(first.is_some());
        let others = async { tokio::join!(turns.next(), turns.next()) };
        let room = async { health.disk(DiskState::Roomy) };
        let (others, ()) = tokio::join!(biased; others, room);
        assert!(others.0.is_none());
        assert!(others.1.is_none());
        drop(first);
    }

    #[tokio::test]
    async fn on_a_full_disk_the_next_one_is_tried_when_the_one_before_is_done() {
        let (health, turns) = turns();
        health.disk(DiskState::Full);
        let first = turns.next().await;
        let next = async { turns.next().await.is_some() };
        let done = async { drop(first) };
        let (is_tried, ()) = tokio::join!(biased; next, done);
        assert!(is_tried);
    }
}
