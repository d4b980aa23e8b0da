//! A command for each event: it is run until it succeeds.

use std::convert::Infallible;
use std::ffi::OsString;
use std::future::pending;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use inbox_client::{Event, RetryPolicy};
use log::{info, warn};
use pending_uploads_core::WorkspaceId;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::output::kind;
use crate::process_group::{LiveCommand, LiveGroups, ProcessGroup};
use crate::settings::ExecSettings;

/// What a command is told of an event.
#[derive(Debug)]
pub(crate) struct Task {
    /// The event as one line, for its stdin.
    pub(crate) line: String,
    /// What its environment has beyond ours.
    pub(crate) variables: Vec<(&'static str, OsString)>,
    workspace_id: WorkspaceId,
    event: &'static str,
}

/// Runs the command of one workspace.
#[derive(Debug, Clone)]
pub(crate) struct Executor {
    settings: ExecSettings,
    retry: RetryPolicy,
    running: LiveGroups,
}

/// What came of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handled {
    /// It is done with.
    Yes,
    /// It is not, because it was time to stop.
    NotYet,
}

/// How a command ended that did not succeed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("it exited with {0}")]
    Code(i32),
    #[error("it was ended by signal {0}")]
    Signal(i32),
    #[error("it took longer than {} seconds", .0.as_secs())]
    TimedOut(Duration),
    #[error("it could not be run: {0}")]
    NotRun(#[from] io::Error),
}

impl Task {
    /// What the command is told of `event`, which is `line` in JSON.
    pub(crate) fn of(workspace_id: WorkspaceId, event: &Event, line: String) -> Self {
        let word = kind(event);
        let mut variables = vec![
            ("INBOX_EVENT", word.into()),
            ("INBOX_WORKSPACE_ID", workspace_id.to_string().into()),
        ];
        if let Event::FileArrived(file) = event {
            variables.push(("INBOX_FILE_PATH", file.path.clone().into()));
        }
        Self {
            line,
            variables,
            workspace_id,
            event: word,
        }
    }
}

impl Executor {
    /// Runs what `settings` say; after a failure, again, as `retry` says. What runs is in `running`.
    pub(crate) fn new(settings: ExecSettings, retry: RetryPolicy, running: LiveGroups) -> Self {
        Self {
            settings,
            retry,
            running,
        }
    }

    /// Runs the command until it succeeds, or until `stop` is cancelled: then one that runs is told to
    /// end, and has succeeded if it still exits with 0.
    pub(crate) async fn handle(&self, task: &Task, stop: &CancellationToken) -> Handled {
        let mut pause = self.retry.first;
        loop {
            if stop.is_cancelled() {
                return Handled::NotYet;
            }
            let Err(failure) = self.attempt(task, stop).await else {
                return Handled::Yes;
            };
            tell(task, &failure, pause, stop);
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = sleep(pause) => {}
            }
            pause = pause.saturating_mul(2).min(self.retry.longest);
        }
    }

    async fn attempt(&self, task: &Task, stop: &CancellationToken) -> Result<(), Failure> {
        let deadline = Instant::now() + self.settings.timeout;
        let mut command = self.start(task)?;
        let (child, group) = (&mut command.child, command.group);
        // It may end without having read all of it.
        let input = feed(child, task.line.as_bytes().to_vec());
        let fed = async {
            input.await;
            pending::<Infallible>().await
        };
        let ended = tokio::select! {
            biased;
            status = child.wait() => Some(status),
            () = stop.cancelled() => None,
            () = sleep_until(deadline) => {
                end(child, group, self.settings.grace).await?;
                return Err(Failure::TimedOut(self.settings.timeout));
            }
            never = fed => match never {},
        };
        let status = match ended {
            Some(status) => status?,
            None => end(child, group, self.settings.grace).await?,
        };
        judge(status)
    }

    fn start(&self, task: &Task) -> io::Result<LiveCommand> {
        let variables = task.variables.iter().map(|(name, value)| (name, value));
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(self.settings.command.as_str())
            .env_remove("INBOX_FILE_PATH")
            // It is given what it needs, and a token is not among that.
            .env_remove("INBOX_TOKEN")
            .env_remove("INBOX_ADMIN_TOKEN")
            .envs(variables)
            .stdin(Stdio::piped())
            // A group of its own: Ctrl-C is for us, and ends it in order.
            .process_group(0)
            .kill_on_drop(true);
        self.running.start(&mut command)
    }
}

/// Writes `line` to the command, and closes its stdin. One that does not read it is as good.
fn feed(child: &mut Child, line: Vec<u8>) -> impl Future<Output = ()> + use<> {
    let stdin = child.stdin.take();
    async move {
        if let Some(mut stdin) = stdin {
            stdin.write_all(&line).await.ok();
        }
    }
}

/// Ends the command and what it has started: with SIGTERM, and with SIGKILL what is still there when
/// the grace is over.
async fn end(
    child: &mut Child,
    group: Option<ProcessGroup>,
    grace: Duration,
) -> io::Result<ExitStatus> {
    let Some(group) = group else {
        return child.wait().await;
    };
    let deadline = Instant::now() + grace;
    group.terminate();
    let ended = tokio::select! {
        biased;
        status = child.wait() => Some(status),
        () = sleep_until(deadline) => None,
    };
    group.end_by(deadline).await;
    match ended {
        Some(status) => status,
        None => child.wait().await,
    }
}

fn judge(status: ExitStatus) -> Result<(), Failure> {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(Failure::Code(code)),
        (None, signal) => Err(Failure::Signal(signal.unwrap_or_default())),
    }
}

fn tell(task: &Task, failure: &Failure, pause: Duration, stop: &CancellationToken) {
    let (workspace_id, event) = (task.workspace_id, task.event);
    if stop.is_cancelled() {
        info!(
            workspace_id:% = workspace_id, event = event, outcome:% = failure;
            "the command was ended; the event comes again at the next start"
        );
        return;
    }
    let seconds = pause.as_secs_f64();
    match failure {
        Failure::Code(code) => warn!(
            workspace_id:% = workspace_id, event = event, exit_code = *code,
            again_in_seconds = seconds; "the command failed"
        ),
        failure => warn!(
            workspace_id:% = workspace_id, event = event, outcome:% = failure,
            again_in_seconds = seconds; "the command failed"
        ),
    }
}

#[cfg(test)]
mod tests;
