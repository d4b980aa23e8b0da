//! A command for each event.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, test_kill_process};
use serde_json::Value;
use server_harness::{Process, Store, bytes, eventually, on_each_store};
use tempfile::TempDir;

use crate::support::desk::stop;
use crate::support::history::{events, identity};
use crate::support::scene::Scene;

on_each_store! {
    the_command_is_called_once_for_each_event,
    a_command_that_fails_is_called_again_with_the_same_event,
    a_message_counts_as_confirmed_when_its_command_succeeds,
    a_command_that_heeds_nothing_ends_with_an_inbox_that_is_told_twice_to_stop,
    a_command_ends_with_an_inbox_whose_terminal_goes_away,
    an_inbox_that_ignores_its_terminal_goes_on_when_that_goes_away,
}

/// Writes down each event that it is called with, on stdin, and fails while there is a file that says
/// so; prints the event when it does not fail.
struct Script {
    folder: TempDir,
}

impl Script {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn calls_file(&self) -> PathBuf {
        self.folder.path().join("calls")
    }

    /// There while the command fails for everything.
    fn all_fail(&self) -> PathBuf {
        self.folder.path().join("all fail")
    }

    /// There while the command fails for messages.
    fn messages_fail(&self) -> PathBuf {
        self.folder.path().join("messages fail")
    }

    fn command(&self) -> String {
        format!(
            "event=$(cat); printf '%s\\n' \"$event\" >> '{}'; test ! -e '{}' || exit 7; \
             if test \"$INBOX_EVENT\" = message; then test ! -e '{}' || exit 8; fi; \
             if test \"$INBOX_EVENT\" = file_arrived; then test -s \"$INBOX_FILE_PATH\" || exit 9; fi; \
             printf '%s\\n' \"$event\"",
            self.calls_file().display(),
            self.all_fail().display(),
            self.messages_fail().display(),
        )
    }

    fn start(&self, scene: &Scene) -> Process {
        let program = scene.desk.command("run").arg("--exec").arg(self.command());
        program.spawn()
    }

    /// What it was called with, again and again counted.
    fn calls(&self) -> Vec<Value> {
        events(&fs::read_to_string(self.calls_file()).unwrap_or_default())
    }

    async fn wait_for_calls(&self, count: usize) -> Vec<Value> {
        eventually("the command is called", async || {
            let calls = self.calls();
            (calls.len() >= count).then_some(calls)
        })
        .await
    }
}

fn put(path: &Path) {
    fs::write(path, "").unwrap();
}

async fn the_command_is_called_once_for_each_event(store: Store) {
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    let mut scene = Scene::begin(&client, &workspace, server.url()).await;
    let script = Script::new();
    let inbox = script.start(&scene);
    let uris = scene
        .upload(&client, [bytes(1, 100), bytes(2, 50_000)])
        .await;
    scene
        .say(&client, "it's \"quoted\" $HOME `id`\n中文", &uris)
        .await;
    scene.finish(&client, inbox).await;
    scene.check(&client).await;
    let calls = script.calls();
    assert_eq!(calls, scene.history.runs()[0]);
    assert_eq!(calls.len(), 4);
}

async fn a_command_that_fails_is_called_again_with_the_same_event(store: Store) {
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    let mut scene = Scene::begin(&client, &workspace, server.url()).await;
    let uris = scene.upload(&client, [bytes(1, 100)]).await;
    scene.say(&client, "a message", &uris).await;
    let script = Script::new();
    put(&script.all_fail());
    let mut inbox = script.start(&scene);
    script.wait_for_calls(3).await;
    inbox.kill();
    assert!(inbox.log().contains("exit_code=7"), "{}", inbox.log());
    let before = script.calls().len();
    assert_eq!(different(&script.calls()), 1);
    let inbox = script.start(&scene);
    script.wait_for_calls(before + 2).await;
    // The inbox may have begun with another file after the restart, but not with more than one.
    let after = script.calls().split_off(before);
    assert_eq!(different(&after), 1);
    assert_eq!(after[0]["event"], "file_arrived");

    fs::remove_file(script.all_fail()).unwrap();
    scene.finish(&client, inbox).await;
    scene.check(&client).await;
    scene.history.assert_nothing_is_repeated();
}

fn different(calls: &[Value]) -> usize {
    calls.iter().map(identity).collect::<BTreeSet<_>>().len()
}

async fn a_message_counts_as_confirmed_when_its_command_succeeds(store: Store) {
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    let mut scene = Scene::begin(&client, &workspace, server.url()).await;
    let uris: Vec<_> = scene
        .ledger
        .taken_files()
        .into_values()
        .map(|file| file.uri)
        .collect();
    scene.say(&client, "the first", &uris).await;
    scene.say(&client, "the second", &[]).await;
    let script = Script::new();
    put(&script.messages_fail());
    let mut inbox = script.start(&scene);
    let calls = script.wait_for_calls(3).await;
    assert_eq!(calls[0]["event"], "file_arrived");
    stop(&mut inbox);
    scene.history.note(&inbox);
    let count = script.calls().len();

    let inbox = script.start(&scene);
    script.wait_for_calls(count + 2).await;
    fs::remove_file(script.messages_fail()).unwrap();
    scene.finish(&client, inbox).await;
    let calls = script.calls();
    let (second, first) = calls[1..].split_last().unwrap();
    assert_eq!(said(second), "the second");
    assert!(
        first.iter().all(|call| said(call) == "the first"),
        "{first:?}"
    );

    scene.say(&client, "the third", &[]).await;
    let count = calls.len();
    let inbox = script.start(&scene);
    scene.finish(&client, inbox).await;
    scene.check(&client).await;
    scene.history.assert_nothing_is_repeated();
    let more = script.calls().split_off(count);
    assert_eq!(more.iter().map(said).collect::<Vec<_>>(), ["the third"]);
}

/// What the message in an event says.
fn said(event: &Value) -> &str {
    event["row"]["request_body"]["id"]
        .as_str()
        .unwrap_or_default()
}

/// Runs for long, whatever it is told, and says that it does.
const STUBBORN: &str = "trap '' TERM HUP; echo $$ > pid; sleep 1000";
/// Runs for long, until it is told to end, and says that it does.
const OBEDIENT: &str = "echo $$ > pid; sleep 1000";

/// The command that an inbox runs, as soon as it has said which process it is.
async fn command_of(inbox: &Process) -> Pid {
    let path = inbox.folder().join("pid");
    eventually("the command runs", async || {
        let said = fs::read_to_string(&path).ok()?;
        Pid::from_raw(said.strip_suffix('\n')?.parse().ok()?)
    })
    .await
}

/// Waits until a command is gone, or dead and not reaped yet.
async fn is_over(command: Pid) {
    let stat = PathBuf::from(format!("/proc/{}/stat", command.as_raw_pid()));
    eventually("the command is over", async || {
        let stat = fs::read_to_string(&stat).unwrap_or_default();
        let is_dead = stat
            .rsplit(") ")
            .next()
            .is_some_and(|rest| rest.starts_with('Z'));
        (is_dead || test_kill_process(command).is_err()).then_some(())
    })
    .await;
}

async fn a_command_that_heeds_nothing_ends_with_an_inbox_that_is_told_twice_to_stop(store: Store) {
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    let scene = Scene::begin(&client, &workspace, server.url()).await;
    let program = scene.desk.command("run").arg("--exec").arg(STUBBORN);
    let mut inbox = program.set("INBOX_EXEC_GRACE_SECS", 600).spawn();
    let command = command_of(&inbox).await;
    let status = inbox.signal_until_it_ends(Signal::TERM);
    assert_eq!(status.code(), Some(1), "{}", inbox.log());
    is_over(command).await;
}

async fn a_command_ends_with_an_inbox_whose_terminal_goes_away(store: Store) {
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    let scene = Scene::begin(&client, &workspace, server.url()).await;
    // Whoever runs the tests may ignore it.
    let program = scene.desk.command_in_env("--default-signal=HUP", "run");
    let mut inbox = program.arg("--exec").arg(OBEDIENT).spawn();
    let command = command_of(&inbox).await;
    inbox.signal(Signal::HUP);
    assert_eq!(inbox.wait().code(), Some(0), "{}", inbox.log());
    is_over(command).await;
}

async fn an_inbox_that_ignores_its_terminal_goes_on_when_that_goes_away(store: Store) {
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    let scene = Scene::begin(&client, &workspace, server.url()).await;
    let program = scene.desk.command_in_env("--ignore-signal=HUP", "run");
    let mut inbox = program.arg("--exec").arg(OBEDIENT).spawn();
    let command = command_of(&inbox).await;
    inbox.signal(Signal::HUP);
    stop(&mut inbox);
    is_over(command).await;
    let log = inbox.log();
    assert!(log.contains("SIGTERM") && !log.contains("SIGHUP"), "{log}");
}
