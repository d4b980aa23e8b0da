//! A program that is told when this process is to stop, and then waited for.

use std::process::{Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use crate::cargo::Outcome;
use crate::error::TaskError;

/// What a child does on being told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It has nothing to clean up, and is killed.
    Kill,
    /// It cleans up after itself, which may take so long.
    Clean(Duration),
}

/// Runs the command to its end, or until this process is told to stop.
pub(crate) fn run(command: Command, stop: Stop) -> Result<Outcome, TaskError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(TaskError::Signals)?;
    runtime.block_on(run_unless_interrupted(command, stop))
}

async fn run_unless_interrupted(command: Command, stop: Stop) -> Result<Outcome, TaskError> {
    let name = command.get_program().to_string_lossy().into_owned();
    let run_failed = |source| TaskError::Run {
        program: name.clone(),
        source,
    };
    let interrupted = interruption()?;
    let mut child = tokio::process::Command::from(command)
        .kill_on_drop(true)
        .spawn()
        .map_err(run_failed)?;
    tokio::select! {
        ended = child.wait() => ended.map(ExitStatus::into).map_err(run_failed),
        () = interrupted => {
            end(&mut child, stop).await.map_err(run_failed)?;
            Ok(Outcome::INTERRUPTED)
        }
    }
}

async fn end(child: &mut Child, stop: Stop) -> std::io::Result<()> {
    if let (Stop::Clean(patience), Some(pid)) = (stop, child_pid(child)) {
        // One that has ended already cannot be told, and need not be.
        let _told = kill_process(pid, Signal::TERM);
        if timeout(patience, child.wait()).await.is_ok() {
            return Ok(());
        }
    }
    child.kill().await
}

fn child_pid(child: &Child) -> Option<Pid> {
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    id.and_then(Pid::from_raw)
}

/// Ends when this process is told to: by Ctrl-C or by SIGTERM.
fn interruption() -> Result<impl Future<Output = ()>, TaskError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(TaskError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(TaskError::Signals)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_childs_exit_code_is_the_tasks_own() {
        assert_eq!(run(shell("exit 0"), Stop::Kill).unwrap(), Outcome::SUCCESS);
        assert_ne!(run(shell("exit 3"), Stop::Kill).unwrap(), Outcome::SUCCESS);
    }

    #[tokio::test]
    async fn a_child_that_cleans_up_gets_the_time_for_it() {
        let folder = std::env::temp_dir().join(format!("xtask-child-{}", std::process::id()));
        let script = format!(
            "trap 'echo cleaned > {0}.cleaned; exit 0' TERM; echo > {0}.ready; \
             while :; do sleep 0.01; done",
            folder.display()
        );
        let mut child = tokio::process::Command::from(shell(&script))
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let [ready, cleaned] = ["ready", "cleaned"].map(|end| folder.with_extension(end));
        while !ready.exists() {
            tokio::task::yield_now().await;
        }
        let patience = Duration::from_mins(1);
        end(&mut child, Stop::Clean(patience)).await.unwrap();
        assert!(cleaned.exists());
        for file in [ready, cleaned] {
            std::fs::remove_file(file).unwrap();
        }
    }
}
