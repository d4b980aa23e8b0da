//! Processes of the binaries under test.

use std::ffi::OsStr;
use std::fmt::Display;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::wait::patiently;

const STDOUT: &str = "stdout";
const STDERR: &str = "stderr";
/// How much of a log is shown when a test fails.
const SHOWN_LINES: usize = 200;

/// A call of a program that is not made yet: without arguments, without a single environment
/// variable, with nothing on stdin, in a temporary folder of its own.
#[derive(Debug)]
pub struct Program {
    command: Command,
    stdin: Option<Vec<u8>>,
}

impl Program {
    /// The program at `path`.
    pub fn new(path: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(path);
        command.env_clear();
        Self {
            command,
            stdin: None,
        }
    }

    /// With one more environment variable.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl Display) -> Self {
        self.command.env(name, format!("{value}"));
        self
    }

    /// With one more argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// With these bytes on stdin, and its end after them.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Starts it without waiting for anything.
    pub fn spawn(self) -> Process {
        self.start(Stdio::from)
    }

    /// As [`spawn`](Self::spawn), with a pipe for its stdout, which the process then seems to print
    /// nothing on: the other end of the pipe is answered beside it.
    pub fn spawn_piped(self) -> (Process, ChildStdout) {
        let mut process = self.start(|_| Stdio::piped());
        let stdout = process.child.stdout.take().unwrap();
        (process, stdout)
    }

    fn start(mut self, stdout: impl FnOnce(File) -> Stdio) -> Process {
        let folder = tempfile::tempdir().unwrap();
        let create = |name| File::create(folder.path().join(name)).unwrap();
        self.command
            .current_dir(folder.path())
            .stdin(input(self.stdin.as_deref()))
            .stdout(stdout(create(STDOUT)))
            .stderr(create(STDERR));
        let name = PathBuf::from(self.command.get_program());
        let child = match self.command.spawn() {
            Ok(child) => child,
            Err(error) => panic!("cannot start {}: {error}", name.display()),
        };
        Process {
            name: name.file_name().unwrap().to_string_lossy().into_owned(),
            child,
            folder,
        }
    }

    /// Runs it to its end.
    pub fn run(self) -> (ExitStatus, Process) {
        let mut process = self.spawn();
        (process.wait(), process)
    }
}

/// What a program reads: a file, so that nobody has to feed it.
fn input(bytes: Option<&[u8]>) -> Stdio {
    let Some(bytes) = bytes else {
        return Stdio::null();
    };
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    file.into()
}

/// A process of a binary under test, killed when it is dropped. The end of its log is shown when its
/// test fails.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    folder: TempDir,
}

impl Process {
    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// What it has printed on stdout so far.
    pub fn stdout(&self) -> String {
        self.read(STDOUT)
    }

    /// What it has logged so far: its stderr.
    pub fn log(&self) -> String {
        self.read(STDERR)
    }

    /// The folder that it runs in, which is gone with it. What it prints lies there, in two files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended; none while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its first line on stdout; there is none when it ends before.
    pub fn first_line(&mut self) -> Option<String> {
        let line = patiently(|| {
            // Asked first: what it printed before its end is there when it has ended.
            let ended = self.ended().is_some();
            let stdout = self.stdout();
            match stdout.split_once('\n') {
                Some((line, _)) => Some(Some(line.to_owned())),
                None => ended.then_some(None),
            }
        });
        line.unwrap_or_else(|| self.fail("neither prints a line nor ends"))
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let status = patiently(|| self.ended());
        status.unwrap_or_else(|| self.fail("does not end"))
    }

    /// Sends it a signal again and again until it ends.
    pub fn signal_until_it_ends(&mut self, signal: Signal) -> ExitStatus {
        let status = patiently(|| {
            let status = self.ended();
            if status.is_none() {
                self.signal(signal);
            }
            status
        });
        status.unwrap_or_else(|| self.fail("does not end"))
    }

    /// Waits until it has logged `text`.
    pub fn wait_for_log(&self, text: &str) {
        let logged = patiently(|| self.log().contains(text).then_some(()));
        logged.unwrap_or_else(|| self.fail(&format!("never logs {text:?}")));
    }

    /// Waits until a whole line of its stdout is what is looked for, and answers that line.
    pub fn wait_for_line(&self, what: &str, mut is_it: impl FnMut(&str) -> bool) -> String {
        let line = patiently(|| {
            let stdout = self.stdout();
            let (whole, _) = stdout.rsplit_once('\n')?;
            whole.lines().find(|line| is_it(line)).map(str::to_owned)
        });
        line.unwrap_or_else(|| self.fail(&format!("never prints {what}")))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Kills it as a crash would, and waits for its end.
    pub fn kill(&mut self) -> ExitStatus {
        self.child.kill().unwrap();
        self.wait()
    }

    fn fail(&self, sentence: &str) -> ! {
        panic!("{} {sentence}:\n{}", self.name, self.log())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended cannot be killed, and need not be.
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            show_end_of(&self.name, &self.log());
        }
    }
}

/// Shows what may be the reason of a test's failure.
#[expect(
    clippy::print_stderr,
    reason = "the test harness shows it when a test fails"
)]
fn show_end_of(name: &str, log: &str) {
    let lines: Vec<_> = log.lines().collect();
    let shown = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
    eprintln!(
        "--- the end of the log of {name}:\n{}\n---",
        shown.join("\n")
    );
}
