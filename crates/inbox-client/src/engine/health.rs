//! How the inbox is doing, and who waits until it does better.

use log::{Level, log};
use pending_uploads_core::WorkspaceId;
use tokio::sync::watch;

use crate::Condition;

/// What the platform's last answer on a route was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlatformState {
    /// There was none yet.
    Unasked,
    /// It answered.
    Answers,
    /// It did not, or says that it is unavailable.
    Unreachable,
    /// It does not take the token.
    Unauthorized,
}

/// A route whose answers tell how the platform does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// What waits.
    List,
    /// What is new.
    Feed,
}

/// Whether there is room for files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiskState {
    /// There was, when last it was looked.
    Roomy,
    /// Too little of it was free.
    Full,
    /// It did not take what was written, however much of it was free.
    Refusing,
}

/// Whether the journal can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JournalState {
    /// It could, when last something was written.
    Sound,
    /// Its disk has no room; whoever writes tries again.
    Full,
    /// It cannot be written any more.
    Broken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    list: PlatformState,
    feed: PlatformState,
    disk: DiskState,
    journal: JournalState,
}

impl State {
    /// The worst of what is wrong.
    fn condition(self) -> Condition {
        let routes = [self.list, self.feed];
        if self.journal == JournalState::Broken {
            Condition::Broken
        } else if routes.contains(&PlatformState::Unauthorized) {
            Condition::Unauthorized
        } else if routes.contains(&PlatformState::Unreachable) {
            Condition::Unreachable
        } else if self.journal == JournalState::Full || self.disk != DiskState::Roomy {
            Condition::DiskFull
        } else if routes.contains(&PlatformState::Answers) {
            Condition::Working
        } else {
            Condition::Starting
        }
    }

    /// Whether the platform is there, as far as anybody knows. One route that is broken, or that
    /// something in between cuts off, does not say that it is away.
    fn platform_is_there(self) -> bool {
        let is_there = |route| matches!(route, PlatformState::Answers | PlatformState::Unasked);
        is_there(self.list) || is_there(self.feed)
    }
}

/// How the inbox is doing. Shared by all its tasks.
#[derive(Debug)]
pub(crate) struct Health {
    workspace_id: WorkspaceId,
    state: watch::Sender<State>,
    condition: watch::Sender<Condition>,
}

impl Health {
    /// That of the inbox of `workspace_id`, which log lines name.
    pub(crate) fn new(workspace_id: WorkspaceId) -> Self {
        let state = State {
            list: PlatformState::Unasked,
            feed: PlatformState::Unasked,
            disk: DiskState::Roomy,
            journal: JournalState::Sound,
        };
        Self {
            workspace_id,
            state: watch::Sender::new(state),
            condition: watch::Sender::new(state.condition()),
        }
    }

    /// Whose inbox it is.
    pub(crate) fn workspace_id(&self) -> WorkspaceId {
        self.workspace_id
    }

    /// The condition, now and as it changes.
    pub(crate) fn conditions(&self) -> watch::Receiver<Condition> {
        self.condition.subscribe()
    }

    /// Notes how the platform answered.
    pub(crate) fn platform(&self, route: Route, now: PlatformState) {
        self.change(|state| match route {
            Route::List => state.list = now,
            Route::Feed => state.feed = now,
        });
    }

    /// Notes whether the disk has room.
    pub(crate) fn disk(&self, now: DiskState) {
        self.change(|state| state.disk = now);
    }

    /// Notes whether the journal can be written.
    pub(crate) fn journal(&self, now: JournalState) {
        self.change(|state| state.journal = now);
    }

    /// Whether the disk was full when last it was looked.
    pub(crate) fn disk_is_full(&self) -> bool {
        self.state.borrow().disk != DiskState::Roomy
    }

    /// Notes that what made it so is over, if the disk `was` so. That enough of it is free says nothing
    /// of one that refused, nor what it took of one that is full for another file.
    pub(crate) fn disk_is_no_longer(&self, was: DiskState) {
        self.change(|state| {
            if state.disk == was {
                state.disk = DiskState::Roomy;
            }
        });
    }

    /// Waits until the disk has room; at once when it had, when last it was looked.
    pub(crate) async fn disk_has_room(&self) {
        let has_room = |state: &State| state.disk == DiskState::Roomy;
        // The sender lives as long as this value, so that the wait does not fail.
        drop(self.state.subscribe().wait_for(has_room).await);
    }

    /// Waits until the journal's disk has room; at once when it has.
    pub(crate) async fn journal_has_room(&self) {
        let has_room = |state: &State| state.journal != JournalState::Full;
        drop(self.state.subscribe().wait_for(has_room).await);
    }

    /// Waits until the platform answers; at once when it does, or was not asked yet.
    pub(crate) async fn platform_answers(&self) {
        // The sender lives as long as this value, so that the wait does not fail.
        drop(
            self.state
                .subscribe()
                .wait_for(|state| state.platform_is_there())
                .await,
        );
    }

    /// Waits until the platform answers again after it did not; for ever, should it never be away.
    pub(crate) async fn platform_comes_back(&self) {
        let away = |state: &State| !state.platform_is_there();
        drop(self.state.subscribe().wait_for(away).await);
        self.platform_answers().await;
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        self.state.send_if_modified(|state| {
            let before = *state;
            change(state);
            *state != before
        });
        self.condition.send_if_modified(|condition| {
            // Looked at in here: of two changes at once, the later one has the last word.
            let now = self.state.borrow().condition();
            let changed = *condition != now;
            if changed {
                log_change(self.workspace_id, now);
            }
            *condition = now;
            changed
        });
    }
}

/// A change of condition is said once; what caused it is in the line of the call that failed.
fn log_change(workspace_id: WorkspaceId, now: Condition) {
    let level = match now {
        Condition::Starting | Condition::Working => Level::Info,
        Condition::Unreachable | Condition::Unauthorized | Condition::DiskFull => Level::Warn,
        Condition::Broken => Level::Error,
    };
    log!(level, workspace_id:% = workspace_id, condition = now.as_str(); "condition changed");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_condition_is_the_worst_of_what_is_wrong() {
        let health = Health::new(WorkspaceId::generate());
        let condition = health.conditions();
        assert_eq!(*condition.borrow(), Condition::Starting);
        health.platform(Route::List, PlatformState::Answers);
        assert_eq!(*condition.borrow(), Condition::Working);
        health.disk(DiskState::Full);
        assert_eq!(*condition.borrow(), Condition::DiskFull);
        health.disk_is_no_longer(DiskState::Refusing);
        assert_eq!(*condition.borrow(), Condition::DiskFull);
        health.disk_is_no_longer(DiskState::Full);
        assert_eq!(*condition.borrow(), Condition::Working);
        health.disk(DiskState::Refusing);
        health.disk_is_no_longer(DiskState::Full);
        assert_eq!(*condition.borrow(), Condition::DiskFull);
        health.journal(JournalState::Full);
        health.disk(DiskState::Roomy);
        assert_eq!(*condition.borrow(), Condition::DiskFull);
        health.platform(Route::Feed, PlatformState::Unreachable);
        assert_eq!(*condition.borrow(), Condition::Unreachable);
        health.platform(Route::List, PlatformState::Unauthorized);
        assert_eq!(*condition.borrow(), Condition::Unauthorized);
        health.journal(JournalState::Broken);
        assert_eq!(*condition.borrow(), Condition::Broken);
    }

    #[tokio::test]
    async fn whoever_waits_for_the_platform_goes_on_when_it_is_back() {
        let health = Health::new(WorkspaceId::generate());
        health.platform_answers().await;
        health.platform(Route::Feed, PlatformState::Unreachable);
        health.platform_answers().await;
        health.platform(Route::List, PlatformState::Unauthorized);
        let waiting = health.platform_answers();
        let back = async { health.platform(Route::List, PlatformState::Answers) };
        tokio::join!(biased; waiting, back);
    }
}
