//! Servers under test: the real binary in a process of its own.

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::thread;

use rustix::process::Signal;
use serde_json::Value;

use crate::client::{assert_no_secret_in, remember_secret};
use crate::{Client, Process, Program, Workspace, binary_of};

/// The package that a server's binary is built of.
const SERVER: &str = "platform-server";
/// What [`ServerBuilder::with_admin`] sets.
const ADMIN_TOKEN: &str = "the-admins-own-token-0123456789";

/// The settings of a server that is not started yet.
#[derive(Debug)]
pub struct ServerBuilder {
    program: Program,
}

impl ServerBuilder {
    /// A server on the store at `url`, on a free port of 127.0.0.1, with nothing else set.
    pub fn on(url: &str) -> Self {
        Self::bare()
            .set("DATABASE_URL", url)
            .set("BIND", "127.0.0.1:0")
    }

    /// A server without any setting.
    pub fn bare() -> Self {
        Self {
            program: Program::new(binary_of(SERVER)),
        }
    }

    /// With one more environment variable.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl Display) -> Self {
        self.program = self.program.set(name, value);
        self
    }

    /// With one more argument.
    #[must_use]
    pub fn arg(mut self, argument: &str) -> Self {
        self.program = self.program.arg(argument);
        self
    }

    /// With an admin token, which [`Server::admin`] then shows.
    #[must_use]
    pub fn with_admin(self) -> Self {
        remember_secret(ADMIN_TOKEN);
        self.set("ADMIN_TOKEN", ADMIN_TOKEN)
    }

    /// Starts it and waits until it listens.
    pub fn start(self) -> Server {
        let mut process = self.spawn();
        let Some(line) = process.first_line() else {
            let status = process.wait();
            panic!(
                "the server ended with {status} before it listened:\n{}",
                process.log()
            );
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
    pub fn spawn(self) -> Process {
        self.program.spawn()
    }

    /// Runs it to its end.
    pub fn run(self) -> (ExitStatus, Process) {
        self.program.run()
    }
}

/// A server that listens. When it is dropped it is told to stop, must exit with 0, and must have
/// logged no secret.
#[derive(Debug)]
pub struct Server {
    process: Process,
    base: String,
    line: String,
    ended: bool,
}

impl Server {
    /// The first line that it printed.
    pub fn first_line(&self) -> &str {
        &self.line
    }

    /// Where it listens, as a URL: `http://127.0.0.1:port`.
    pub fn url(&self) -> &str {
        &self.base
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> &str {
        self.base.trim_start_matches("http://")
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The folder that it runs in.
    pub fn folder(&self) -> &Path {
        self.process.folder()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// A client that shows no token.
    pub fn anonymous(&self) -> Client {
        Client::new(self.base.clone(), None)
    }

    /// A client that shows the admin's token.
    pub fn admin(&self) -> Client {
        Client::new(self.base.clone(), Some(ADMIN_TOKEN))
    }

    /// A client that acts for `workspace`.
    pub fn client(&self, workspace: &Workspace) -> Client {
        Client::new(self.base.clone(), Some(&workspace.token))
    }

    /// A fresh workspace that polls, and a client that acts for it.
    pub async fn workspace(&self) -> (Workspace, Client) {
        let workspace = self.anonymous().register_poll().await;
        let client = self.client(&workspace);
        (workspace, client)
    }

    /// Kills it as a crash would.
    pub fn kill(mut self) {
        self.ended = true;
        self.process.kill();
        assert_no_secret_in(&self.log());
    }

    /// Tells it to stop, and lets it be.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for the end of a server that was told to stop, and answers its exit code.
    pub fn wait(mut self) -> (Option<i32>, String) {
        self.ended = true;
        let status = self.process.wait();
        (status.code(), self.log())
    }

    /// Tells it to stop again and again until it does, and answers its exit code.
    pub fn insist(mut self, signal: Signal) -> (Option<i32>, String) {
        self.ended = true;
        let status = self.process.signal_until_it_ends(signal);
        (status.code(), self.log())
    }

    /// The most memory that it ever had, in bytes (`VmHWM`, proc(5)).
    pub fn peak_memory(&self) -> u64 {
        let path = PathBuf::from(format!("/proc/{}/status", self.process.id()));
        let kibibytes = peak_kibibytes(&path);
        kibibytes * 1024
    }

    /// A number of the server's metrics; zero when it is not there.
    pub async fn metric(&self, name: &str) -> f64 {
        let answer = self.anonymous().get("/metrics").await;
        let text = String::from_utf8(answer.body).unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
            .unwrap_or_default()
    }

    /// The rows after `cursor` that are there when the wait is over.
    pub async fn wait_for_rows(
        &self,
        workspace: &Workspace,
        cursor: &str,
        seconds: u32,
    ) -> Vec<Value> {
        let query = format!("since_id={cursor}&wait={seconds}&limit=500");
        self.client(workspace).feed(workspace, &query).await
    }
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
