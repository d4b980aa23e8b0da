//! A command together with everything that it has started.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// How often is looked whether anything is left of a group: nobody tells.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The processes of a command that was started in a group of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProcessGroup(Pid);

impl ProcessGroup {
    /// That of `child`, if it still runs.
    pub(crate) fn of(child: &Child) -> Option<Self> {
        let id = i32::try_from(child.id()?).ok()?;
        Pid::from_raw(id).map(Self)
    }

    /// Tells all of them to end.
    pub(crate) fn terminate(self) {
        self.signal(Signal::TERM);
    }

    /// Waits until they have ended, and ends those that are there at the deadline.
    pub(crate) async fn end_by(self, deadline: Instant) {
        while self.is_there() {
            if Instant::now() >= deadline {
                self.signal(Signal::KILL);
                return;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn is_there(self) -> bool {
        test_kill_process_group(self.0).is_ok()
    }

    /// Those that have ended in the meantime need no signal.
    fn signal(self, signal: Signal) {
        kill_process_group(self.0, signal).ok();
    }
}

/// The groups of all commands that run, so that none outlives this process. Clones are the same groups.
#[derive(Debug, Clone, Default)]
pub(crate) struct LiveGroups(Arc<Mutex<HashSet<Pid>>>);

/// A command that counts as running until this is dropped.
#[derive(Debug)]
pub(crate) struct LiveCommand {
    /// The command itself.
    pub(crate) child: Child,
    /// It, and what it has started.
    pub(crate) group: Option<ProcessGroup>,
    groups: LiveGroups,
}

/// Keeps commands from being started as long as it lives.
#[derive(Debug)]
#[must_use = "a command may be started when it is dropped"]
pub(crate) struct NoMore<'a> {
    _groups: MutexGuard<'a, HashSet<Pid>>,
}

impl LiveGroups {
    /// Starts a command, which must be told to be in a group of its own.
    pub(crate) fn start(&self, command: &mut Command) -> io::Result<LiveCommand> {
        // Held while it is started, so that none is missed that is being started.
        let mut groups = self.lock();
        let child = command.spawn()?;
        let group = ProcessGroup::of(&child);
        groups.extend(group.map(|group| group.0));
        drop(groups);
        Ok(LiveCommand {
            child,
            group,
            groups: self.clone(),
        })
    }

    /// Ends all of them at once, whatever they are at.
    pub(crate) fn kill(&self) -> NoMore<'_> {
        let groups = self.lock();
        for group in groups.iter() {
            ProcessGroup(*group).signal(Signal::KILL);
        }
        NoMore { _groups: groups }
    }

    /// A task that panicked with the lock left groups that are as right as before.
    fn lock(&self) -> MutexGuard<'_, HashSet<Pid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LiveCommand {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            self.groups.lock().remove(&group.0);
        }
    }
}
