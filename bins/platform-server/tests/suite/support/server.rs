//! Servers under test: the real binary in a process of its own.

use std::fmt::Display;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::client::{assert_no_secret_in, remember_secret};
use super::{Client, Workspace};

const BINARY: &str = env!("CARGO_BIN_EXE_platform-server");
/// How often is looked whether a process has done what it should, and how long in between: a
/// minute in all, on a machine that is busy with other tests.
const LOOKS: u32 = 1200;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// The settings of a server that is not started yet.
#[derive(Debug)]
pub(crate) struct ServerBuilder {
    command: Command,
}

impl ServerBuilder {
    /// A server on the database at `url`, on a free port, with nothing else set.
    pub(crate) fn on(url: &str) -> Self {
        Self::bare()
            .set("DATABASE_URL", url)
            .set("BIND", "127.0.0.1:0")
    }

    /// A server without any setting.
    pub(crate) fn bare() -> Self {
        let mut command = Command::new(BINARY);
        command.env_clear().stdin(Stdio::null());
        Self { command }
    }

    /// With one more environment variable.
    pub(crate) fn set(mut self, name: &str, value: impl Display) -> Self {
        self.command.env(name, format!("{value}"));
        self
    }

    /// With one more argument.
    pub(crate) fn arg(mut self, argument: &str) -> Self {
        self.command.arg(argument);
        self
    }

    /// With an admin token, which [`Server::admin`] then shows.
    pub(crate) fn with_admin(self) -> Self {
        remember_secret(ADMIN_TOKEN);
        self.set("ADMIN_TOKEN", ADMIN_TOKEN)
    }

    /// Starts it and waits until it listens.
    pub(crate) fn start(self) -> Server {
        let mut process = self.spawn();
        let Some(line) = process.first_line() else {
            let status = process.wait();
            fail(&format!(
                "the server ended with {status} before it listened:\n{}",
                process.log()
            ));
        };
        let address = line
            .split("http://")
            .nth(1)
            .and_then(|rest| rest.split(',').next());
        let base = format!("http://{}", address.unwrap_or_default());
        Server {
            process,
            base,
            line,
            ended: false,
        }
    }

    /// Starts it without waiting for anything.
    pub(crate) fn spawn(mut self) -> Process {
        let folder = tempfile::tempdir().unwrap();
        let create = |name| File::create(folder.path().join(name)).unwrap();
        self.command
            .current_dir(folder.path())
            .stdout(create(STDOUT))
            .stderr(create(STDERR));
        let child = self.command.spawn().unwrap();
        Process { child, folder }
    }

    /// Runs it to its end.
    pub(crate) fn run(self) -> (ExitStatus, Process) {
        let mut process = self.spawn();
        (process.wait(), process)
    }
}

/// What [`ServerBuilder::with_admin`] sets.
const ADMIN_TOKEN: &str = "the-admins-own-token-0123456789";
const STDOUT: &str = "stdout";
const STDERR: &str = "stderr";
/// How much of a log is shown when a test fails.
const SHOWN_LINES: usize = 200;

/// A process of the binary, killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    folder: TempDir,
}

impl Process {
    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// What it printed on stdout.
    pub(crate) fn stdout(&self) -> String {
        self.read(STDOUT)
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        self.read(STDERR)
    }

    /// The folder that it runs in, which is gone with it.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its first line on stdout; none when it ended before.
    fn first_line(&mut self) -> Option<String> {
        for _ in 0..LOOKS {
            if let Some((line, _)) = self.stdout().split_once('\n') {
                return Some(line.to_owned());
            }
            if self.child.try_wait().unwrap().is_some() {
                return None;
            }
            thread::sleep(BETWEEN_LOOKS);
        }
        fail("the server neither listens nor ends")
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        for _ in 0..LOOKS {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            thread::sleep(BETWEEN_LOOKS);
        }
        fail(&format!("the server does not end:\n{}", self.log()))
    }

    /// Sends it a signal again and again until it ends.
    fn signal_until_it_ends(&mut self, signal: Signal) -> ExitStatus {
        for _ in 0..LOOKS {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            self.signal(signal);
            thread::sleep(BETWEEN_LOOKS);
        }
        fail(&format!("the server does not end:\n{}", self.log()))
    }

    /// Waits until it has logged `text`.
    pub(crate) fn wait_for_log(&self, text: &str) {
        for _ in 0..LOOKS {
            if self.log().contains(text) {
                return;
            }
            thread::sleep(BETWEEN_LOOKS);
        }
        fail(&format!("it never logs {text:?}:\n{}", self.log()))
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended cannot be killed, and need not be.
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            show_end_of(&self.log());
        }
    }
}

/// A server that listens. When it is dropped it is told to stop, must exit with 0, and must have
/// logged no secret.
#[derive(Debug)]
pub(crate) struct Server {
    process: Process,
    base: String,
    line: String,
    ended: bool,
}

impl Server {
    /// The first line that it printed.
    pub(crate) fn first_line(&self) -> &str {
        &self.line
    }

    /// `127.0.0.1:port`.
    pub(crate) fn address(&self) -> &str {
        self.base.trim_start_matches("http://")
    }

    /// The folder that it runs in.
    pub(crate) fn folder(&self) -> &Path {
        self.process.folder()
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// A client that shows no token.
    pub(crate) fn anonymous(&self) -> Client {
        Client::new(self.base.clone(), None)
    }

    /// A client that shows the admin's token.
    pub(crate) fn admin(&self) -> Client {
        Client::new(self.base.clone(), Some(ADMIN_TOKEN))
    }

    /// A client that acts for `workspace`.
    pub(crate) fn client(&self, workspace: &Workspace) -> Client {
        Client::new(self.base.clone(), Some(&workspace.token))
    }

    /// A fresh workspace that polls, and a client that acts for it.
    pub(crate) async fn workspace(&self) -> (Workspace, Client) {
        let workspace = self.anonymous().register_poll().await;
        let client = self.client(&workspace);
        (workspace, client)
    }

    /// Kills it as a crash would.
    pub(crate) fn kill(mut self) {
        self.ended = true;
        self.process.signal(Signal::KILL);
        self.process.wait();
        assert_no_secret_in(&self.log());
    }

    /// Tells it to stop, and lets it be.
    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for the end of a server that was told to stop, and answers its exit code.
    pub(crate) fn wait(mut self) -> (Option<i32>, String) {
        self.ended = true;
        let status = self.process.wait();
        (status.code(), self.log())
    }

    /// Tells it to stop again and again until it does, and answers its exit code.
    pub(crate) fn insist(mut self, signal: Signal) -> (Option<i32>, String) {
        self.ended = true;
        let status = self.process.signal_until_it_ends(signal);
        (status.code(), self.log())
    }

    /// The most memory that it ever had, in bytes (`VmHWM`, proc(5)).
    pub(crate) fn peak_memory(&self) -> u64 {
        let path = PathBuf::from(format!("/proc/{}/status", self.process.id()));
        let kibibytes = peak_kibibytes(&path);
        kibibytes * 1024
    }

    /// A number of the server's metrics; zero when it is not there.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let answer = self.anonymous().get("/metrics").await;
        let text = String::from_utf8(answer.body).unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
            .unwrap_or_default()
    }

    /// The rows after `cursor` that are there when the wait is over.
    pub(crate) async fn wait_for_rows(
        &self,
        workspace: &Workspace,
        cursor: &str,
        seconds: u32,
    ) -> Vec<Value> {
        let query = format!("since_id={cursor}&wait={seconds}&limit=500");
        self.client(workspace).feed(workspace, &query).await
    }
}

/// Shows what may be the reason of a test's failure.
#[expect(
    clippy::print_stderr,
    reason = "the test harness shows it when a test fails"
)]
fn show_end_of(log: &str) {
    let lines: Vec<_> = log.lines().collect();
    let shown = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
    eprintln!("--- the end of a server's log:\n{}\n---", shown.join("\n"));
}

fn peak_kibibytes(status: &Path) -> u64 {
    let text = fs::read_to_string(status).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.ended || thread::panicking() {
            return;
        }
        self.process.signal(Signal::TERM);
        let status = self.process.wait();
        let log = self.log();
        assert!(status.success(), "the server ended with {status}:\n{log}");
        assert_no_secret_in(&log);
    }
}

#[expect(clippy::panic, reason = "a test fails by panicking")]
fn fail(sentence: &str) -> ! {
    panic!("{sentence}")
}
