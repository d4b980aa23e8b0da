//! What was lately looked up of workspaces, so that not every request asks for its own.
//!
//! An answer is kept for a few seconds, and only while the database can tell us of a change: the
//! connection that listens is there, and the table has the trigger that notifies. Whatever was
//! looked up before a change was told of is not kept.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pending_uploads_core::{TokenDigest, Workspace, WorkspaceId};

/// How long an answer is believed when no change is told of: should a notification be lost with a
/// connection that died unnoticed, this is how long.
const BELIEVED: Duration = Duration::from_secs(5);
/// How many workspaces are remembered at the most; beyond, all are forgotten.
const CAPACITY: usize = 4096;

/// A workspace, and the digest that its token must have.
#[derive(Debug, Clone)]
pub(crate) struct KnownWorkspace {
    pub(crate) workspace: Workspace,
    pub(crate) token: TokenDigest,
}

/// What is known of workspaces just now.
#[derive(Debug, Default)]
pub(crate) struct KnownWorkspaces {
    memory: Mutex<Memory>,
}

/// When a look-up was begun: what it found is kept only if no change was told of since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked(u64);

#[derive(Debug, Default)]
struct Memory {
    hearing: Hearing,
    changes: u64,
    entries: HashMap<WorkspaceId, Entry>,
}

#[derive(Debug)]
struct Entry {
    known: KnownWorkspace,
    since: Instant,
}

/// Whether changes are told of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Hearing {
    /// They are not: nothing is kept.
    #[default]
    Deaf,
    /// They are.
    Listening,
}

impl KnownWorkspaces {
    /// What is known of a workspace.
    pub(crate) fn get(&self, workspace: WorkspaceId) -> Option<KnownWorkspace> {
        let memory = self.memory();
        let entry = memory.entries.get(&workspace)?;
        (entry.since.elapsed() < BELIEVED).then(|| entry.known.clone())
    }

    /// To be noted before a workspace is looked up.
    pub(crate) fn asked(&self) -> Asked {
        Asked(self.memory().changes)
    }

    /// Keeps what a look-up found.
    pub(crate) fn keep(&self, asked: Asked, known: &KnownWorkspace) {
        let mut memory = self.memory();
        if memory.hearing == Hearing::Deaf || Asked(memory.changes) != asked {
            return;
        }
        if memory.entries.len() >= CAPACITY {
            memory.entries.clear();
        }
        let entry = Entry {
            known: known.clone(),
            since: Instant::now(),
        };
        memory.entries.insert(known.workspace.id, entry);
    }

    /// Forgets a workspace that was changed.
    pub(crate) fn forget(&self, workspace: WorkspaceId) {
        let mut memory = self.memory();
        memory.changes += 1;
        memory.entries.remove(&workspace);
    }

    /// Forgets everything, because changes are told of from now on, or are not any more.
    pub(crate) fn forget_all(&self, hearing: Hearing) {
        let mut memory = self.memory();
        memory.changes += 1;
        memory.hearing = hearing;
        memory.entries = HashMap::new();
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // Nothing panics while it is held.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use pending_uploads_core::Delivery;

    use super::*;

    fn known() -> KnownWorkspace {
        KnownWorkspace {
            workspace: Workspace {
                id: WorkspaceId::generate(),
                delivery: Delivery::Poll,
            },
            token: TokenDigest::from_bytes([7; 32]),
        }
    }

    fn listening() -> KnownWorkspaces {
        let all = KnownWorkspaces::default();
        all.forget_all(Hearing::Listening);
        all
    }

    #[test]
    fn what_was_looked_up_is_known_until_a_change_is_told_of() {
        let (all, one, other) = (listening(), known(), known());
        for known in [&one, &other] {
            all.keep(all.asked(), known);
        }
        assert!(all.get(one.workspace.id).is_some());
        all.forget(one.workspace.id);
        assert!(all.get(one.workspace.id).is_none());
        assert!(all.get(other.workspace.id).is_some());
    }

    #[test]
    fn what_was_looked_up_before_a_change_is_not_kept_after_it() {
        let (all, one) = (listening(), known());
        let asked = all.asked();
        all.forget(one.workspace.id);
        all.keep(asked, &one);
        assert!(all.get(one.workspace.id).is_none());
    }

    #[test]
    fn nothing_is_kept_while_nobody_tells_of_changes() {
        let (all, one) = (listening(), known());
        all.keep(all.asked(), &one);
        all.forget_all(Hearing::Deaf);
        assert!(all.get(one.workspace.id).is_none());
        all.keep(all.asked(), &one);
        assert!(all.get(one.workspace.id).is_none());
    }

    #[test]
    fn no_more_workspaces_are_remembered_than_there_is_room_for() {
        let all = listening();
        for _ in 0..=CAPACITY {
            all.keep(all.asked(), &known());
        }
        assert_eq!(all.memory().entries.len(), 1);
    }
}
