//! Commands as they are run: told of an event, run again, and ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use inbox_client::{FileArrived, Message};
use pending_uploads_core::{FileId, Mimetype, PendingUri, Sha256};
use rustix::process::{Pid, test_kill_process};
use serde_json::json;
use tempfile::TempDir;

use super::*;

/// A command that writes into a folder.
struct Bench {
    folder: TempDir,
    stop: CancellationToken,
    running: LiveGroups,
}

impl Bench {
    fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            stop: CancellationToken::new(),
            running: LiveGroups::default(),
        }
    }

    /// What runs `script` in the folder.
    fn executor(&self, script: &str, timeout: Duration, grace: Duration) -> Executor {
        let folder = self.folder.path().display();
        let settings = ExecSettings {
            command: format!("cd '{folder}' || exit 9\n{script}")
                .parse()
                .unwrap(),
            timeout,
            grace,
        };
        let retry = RetryPolicy {
            first: Duration::from_millis(1),
            longest: Duration::from_millis(4),
            ..RetryPolicy::default()
        };
        Executor::new(settings, retry, self.running.clone())
    }

    async fn run(&self, script: &str, task: &Task) -> Handled {
        let minute = Duration::from_mins(1);
        let executor = self.executor(script, minute, minute);
        executor.handle(task, &self.stop).await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The process whose id is in a file, as soon as it is there.
    async fn process(&self, name: &str) -> Pid {
        until(|| read_pid(&self.path(name))).await
    }
}

fn read_pid(path: &Path) -> Option<Pid> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.strip_suffix('\n')?;
    Pid::from_raw(line.parse().ok()?)
}

async fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..3_000 {
        if let Some(found) = look() {
            return found;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come about");
}

/// Waits until a process is gone, or dead and not reaped yet.
async fn until_gone(process: Pid) {
    let stat = PathBuf::from(format!("/proc/{}/stat", process.as_raw_pid()));
    until(|| {
        let dead = |text: String| {
            text.rsplit(") ")
                .next()
                .is_some_and(|rest| rest.starts_with('Z'))
        };
        let zombie = fs::read_to_string(&stat).is_ok_and(dead);
        (zombie || test_kill_process(process).is_err()).then_some(())
    })
    .await;
}

fn message(text: &str) -> Task {
    let row = json!({"summary": text});
    let event = Event::Message(Message { row });
    Task::of(WorkspaceId::generate(), &event, format!("{text}\n"))
}

#[tokio::test]
async fn a_command_is_told_of_the_event_on_its_stdin_and_in_its_environment() {
    let (bench, id) = (Bench::new(), WorkspaceId::generate());
    let event = Event::FileArrived(FileArrived {
        path: "/srv/a b".into(),
        name: "b".to_owned(),
        original_name: "b".to_owned(),
        mimetype: Mimetype::absent(),
        size: 3,
        sha256: Sha256::of(b"abc"),
        uri: PendingUri {
            workspace_id: id,
            file_id: FileId::generate(),
        },
    });
    let task = Task::of(id, &event, "{\"line\":1}\n".to_owned());
    let script = "cat > in; printf %s \"$INBOX_EVENT|$INBOX_WORKSPACE_ID|$INBOX_FILE_PATH\" > env";
    assert_eq!(bench.run(script, &task).await, Handled::Yes);
    assert_eq!(bench.read("in"), "{\"line\":1}\n");
    assert_eq!(bench.read("env"), format!("file_arrived|{id}|/srv/a b"));
}

#[tokio::test]
async fn a_message_has_no_file() {
    let bench = Bench::new();
    let script = "printf %s \"$INBOX_EVENT ${INBOX_FILE_PATH-none}\" > env";
    assert_eq!(bench.run(script, &message("x")).await, Handled::Yes);
    assert_eq!(bench.read("env"), "message none");
}

#[tokio::test]
async fn a_command_that_fails_is_run_again_until_it_succeeds() {
    let bench = Bench::new();
    let script = "cat >> runs; [ $(wc -l < runs) -ge 4 ] || exit 7";
    assert_eq!(bench.run(script, &message("x")).await, Handled::Yes);
    assert_eq!(bench.read("runs"), "x\nx\nx\nx\n");
}

#[tokio::test]
async fn a_command_that_a_signal_ended_is_run_again() {
    let bench = Bench::new();
    let script = "[ -e run ] && exit 0; touch run; kill -KILL $$";
    assert_eq!(bench.run(script, &message("x")).await, Handled::Yes);
}

#[tokio::test]
async fn a_command_that_does_not_read_its_stdin_is_as_good() {
    let bench = Bench::new();
    let task = message(&"x".repeat(1_000_000));
    assert_eq!(bench.run("true", &task).await, Handled::Yes);
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_ended_with_all_that_it_started_and_run_again() {
    let bench = Bench::new();
    let script = "[ -e child ] && exit 0; sleep 1000 & echo $! > child; wait";
    let (timeout, grace) = (Duration::from_millis(700), Duration::from_mins(1));
    let executor = bench.executor(script, timeout, grace);
    let task = message("x");
    assert_eq!(executor.handle(&task, &bench.stop).await, Handled::Yes);
    until_gone(bench.process("child").await).await;
}

/// Runs `script` until its child is there, stops, and answers what came of it.
async fn stopped(bench: &Bench, script: &str, grace: Duration) -> Handled {
    let executor = Arc::new(bench.executor(script, Duration::from_mins(10), grace));
    let stop = bench.stop.clone();
    let handling = tokio::spawn(async move { executor.handle(&message("x"), &stop).await });
    let child = bench.process("child").await;
    bench.stop.cancel();
    let handled = handling.await.unwrap();
    until_gone(child).await;
    handled
}

#[tokio::test]
async fn a_stop_ends_a_command_that_runs() {
    let script = "sleep 1000 & echo $! > child; wait";
    let handled = stopped(&Bench::new(), script, Duration::from_mins(1)).await;
    assert_eq!(handled, Handled::NotYet);
}

#[tokio::test]
async fn a_command_that_finishes_when_it_is_stopped_has_succeeded() {
    let script = "trap 'exit 0' TERM; sleep 1000 & echo $! > child; wait";
    let handled = stopped(&Bench::new(), script, Duration::from_mins(1)).await;
    assert_eq!(handled, Handled::Yes);
}

#[tokio::test]
async fn a_command_that_does_not_heed_a_stop_is_killed_after_the_grace() {
    let script = "trap '' TERM; sleep 1000 & echo $! > child; wait";
    let handled = stopped(&Bench::new(), script, Duration::from_millis(50)).await;
    assert_eq!(handled, Handled::NotYet);
}

#[tokio::test]
async fn nothing_is_run_after_a_stop() {
    let bench = Bench::new();
    bench.stop.cancel();
    assert_eq!(bench.run("touch run", &message("x")).await, Handled::NotYet);
    assert!(!bench.path("run").exists());
}

#[tokio::test]
async fn what_runs_can_be_ended_at_once_with_all_that_it_started() {
    let bench = Bench::new();
    let script = "[ -e child ] && exit 0; trap '' TERM; sleep 1000 & echo $! > child; wait";
    let minute = Duration::from_mins(1);
    let executor = Arc::new(bench.executor(script, minute, minute));
    let stop = bench.stop.clone();
    let handling = tokio::spawn(async move { executor.handle(&message("x"), &stop).await });
    let child = bench.process("child").await;
    drop(bench.running.kill());
    until_gone(child).await;
    assert_eq!(handling.await.unwrap(), Handled::Yes);
}
