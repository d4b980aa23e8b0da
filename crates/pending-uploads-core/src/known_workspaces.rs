//! What was lately looked up of workspaces, so that not every request asks for its own: what the
//! backends have in common.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{Token, TokenDigest, Workspace, WorkspaceId};

/// How long an answer is believed when no change is told of: should a notification be lost with a
/// connection that died unnoticed, this is how long.
const BELIEVED: Duration = Duration::from_secs(5);
/// How many workspaces are remembered at the most; beyond, all are forgotten.
const CAPACITY: usize = 4096;

/// A workspace, and the digest that its token must have.
#[derive(Debug, Clone)]
pub struct KnownWorkspace {
    /// The workspace.
    pub workspace: Workspace,
    /// The digest.
    pub token: TokenDigest,
}

/// What is known of workspaces just now: up to 4,096 of them, each for 5 seconds from the beginning of
/// its look-up.
///
/// Something is kept only while its owner is told of changes ([`Hearing::Listening`]), and nothing that
/// was looked up before a change was told of. That there is no such workspace is never kept.
/// Clones share it.
#[derive(Debug, Clone, Default)]
pub struct KnownWorkspaces {
    memory: Arc<Mutex<Memory>>,
}

/// When a look-up was begun: what it found is kept only if no change was told of since.
#[derive(Debug, Clone, Copy)]
struct LookUp {
    changes: u64,
    begun: Instant,
}

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

/// Whether the owner of [`KnownWorkspaces`] is told of changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Hearing {
    /// They are not: nothing is kept.
    #[default]
    Deaf,
    /// They are.
    Listening,
}

impl KnownWorkspaces {
    /// What is remembered of a workspace, or else what `looking_up` finds, which is then remembered.
    ///
    /// `looking_up` is not begun unless it is needed. A dropped future remembers nothing.
    ///
    /// # Errors
    /// That of `looking_up`; nothing is remembered then.
    pub async fn find<E>(
        &self,
        workspace: WorkspaceId,
        looking_up: impl Future<Output = Result<Option<KnownWorkspace>, E>>,
    ) -> Result<Option<KnownWorkspace>, E> {
        match self.get(workspace) {
            Some(known) => Ok(Some(known)),
            None => self.look_up(looking_up).await,
        }
    }

    /// The workspace when `token` is its own. A token that is not the one that is remembered is
    /// looked up all the same: another may have been put in just now, and an unknown workspace takes
    /// as long.
    ///
    /// Otherwise as [`find`](Self::find).
    ///
    /// # Errors
    /// That of `looking_up`.
    pub async fn authenticate<E>(
        &self,
        workspace: WorkspaceId,
        token: &Token,
        looking_up: impl Future<Output = Result<Option<KnownWorkspace>, E>>,
    ) -> Result<Option<Workspace>, E> {
        let is_its = |known: &KnownWorkspace| known.token.is_of(token);
        let known = match self.get(workspace).filter(is_its) {
            Some(known) => Some(known),
            None => self.look_up(looking_up).await?.filter(is_its),
        };
        Ok(known.map(|known| known.workspace))
    }

    async fn look_up<E>(
        &self,
        looking_up: impl Future<Output = Result<Option<KnownWorkspace>, E>>,
    ) -> Result<Option<KnownWorkspace>, E> {
        let begun = self.begin_look_up();
        let found = looking_up.await?;
        if let Some(found) = &found {
            self.keep(begun, found);
        }
        Ok(found)
    }

    fn get(&self, workspace: WorkspaceId) -> Option<KnownWorkspace> {
        let memory = self.memory();
        let entry = memory.entries.get(&workspace)?;
        (entry.since.elapsed() < BELIEVED).then(|| entry.known.clone())
    }

    /// To be noted before a workspace is looked up.
    fn begin_look_up(&self) -> LookUp {
        LookUp {
            changes: self.memory().changes,
            begun: Instant::now(),
        }
    }

    /// Keeps what a look-up found.
    fn keep(&self, look_up: LookUp, known: &KnownWorkspace) {
        let mut memory = self.memory();
        if memory.hearing == Hearing::Deaf || memory.changes != look_up.changes {
            return;
        }
        if memory.entries.len() >= CAPACITY {
            memory.entries.clear();
        }
        let entry = Entry {
            known: known.clone(),
            since: look_up.begun,
        };
        memory.entries.insert(known.workspace.id, entry);
    }

    /// Forgets a workspace that was changed.
    pub fn forget(&self, workspace: WorkspaceId) {
        let mut memory = self.memory();
        memory.changes += 1;
        memory.entries.remove(&workspace);
    }

    /// Forgets everything, because changes are told of from now on, or are not any more.
    pub fn forget_all(&self, hearing: Hearing) {
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
    use super::*;
    use crate::Delivery;

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
            all.keep(all.begin_look_up(), known);
        }
        assert!(all.get(one.workspace.id).is_some());
        all.forget(one.workspace.id);
        assert!(all.get(one.workspace.id).is_none());
        assert!(all.get(other.workspace.id).is_some());
    }

    #[test]
    fn what_was_looked_up_before_a_change_is_not_kept_after_it() {
        let (all, one) = (listening(), known());
        let begun = all.begin_look_up();
        all.forget(one.workspace.id);
        all.keep(begun, &one);
        assert!(all.get(one.workspace.id).is_none());
    }

    #[test]
    fn nothing_is_kept_while_nobody_tells_of_changes() {
        let (all, one) = (listening(), known());
        all.keep(all.begin_look_up(), &one);
        all.forget_all(Hearing::Deaf);
        assert!(all.get(one.workspace.id).is_none());
        all.keep(all.begin_look_up(), &one);
        assert!(all.get(one.workspace.id).is_none());
    }

    #[test]
    fn no_more_workspaces_are_remembered_than_there_is_room_for() {
        let all = listening();
        for _ in 0..=CAPACITY {
            all.keep(all.begin_look_up(), &known());
        }
        assert_eq!(all.memory().entries.len(), 1);
    }
}
