//! A command together with everything that it has started.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::process::Child;
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
