//! Where an inbox works: its folders, which outlive its processes, and calls of its program.

use std::path::PathBuf;
use std::sync::Arc;

use rustix::process::Signal;
use server_harness::{Process, Program, Workspace, assert_no_secret_in};
use tempfile::TempDir;

/// Where programs are.
const PROGRAMS: &str = "/usr/local/bin:/usr/bin:/bin";

/// The program under test, without any setting but where programs are: it runs a shell.
pub(crate) fn program() -> Program {
    Program::new(env!("CARGO_BIN_EXE_inbox")).set("PATH", PROGRAMS)
}

/// The program with short times, so that it soon gets over what is broken.
pub(crate) fn hasty(program: Program) -> Program {
    program
        .set("INBOX_CONNECT_TIMEOUT_SECS", 1)
        .set("INBOX_ANSWER_TIMEOUT_SECS", 2)
        .set("INBOX_IDLE_TIMEOUT_SECS", 1)
        .set("INBOX_POLL_WAIT_SECS", 1)
        .set("INBOX_RECONCILE_SECS", 1)
        .set("INBOX_SLOW_SECS", 1)
        .set("INBOX_LONGEST_RETRY_SECS", 1)
}

/// The folders of one inbox, and what it is told.
#[derive(Debug)]
pub(crate) struct Desk {
    /// Holds the state, and the files, unless they lie with another desk.
    folder: TempDir,
    files: PathBuf,
    /// Keeps the folder of the files.
    _others: Option<Arc<Desk>>,
    url: String,
    workspace: Workspace,
}

impl Desk {
    /// Of the inbox of `workspace` on the platform at `url`.
    pub(crate) fn new(url: &str, workspace: &Workspace) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            files: folder.path().canonicalize().unwrap().join("files"),
            folder,
            _others: None,
            url: url.to_owned(),
            workspace: workspace.clone(),
        }
    }

    /// Of another inbox with a state of its own, whose files come to the same folder.
    pub(crate) fn sharing_files_of(desk: &Arc<Self>) -> Self {
        Self {
            files: desk.files.clone(),
            _others: Some(Arc::clone(desk)),
            ..Self::new(&desk.url, &desk.workspace)
        }
    }

    /// Where its files come.
    pub(crate) fn files(&self) -> PathBuf {
        self.files.clone()
    }

    /// Where its state is.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The program with that command.
    pub(crate) fn command(&self, command: &str) -> Program {
        self.told(program()).arg(command)
    }

    /// The same as `env` starts it with that option.
    pub(crate) fn command_in_env(&self, option: &str, command: &str) -> Program {
        let env = Program::new("env").set("PATH", PROGRAMS);
        let env = env.arg(option).arg(env!("CARGO_BIN_EXE_inbox"));
        self.told(env).arg(command)
    }

    fn told(&self, program: Program) -> Program {
        hasty(program)
            .set("INBOX_PLATFORM_URL", &self.url)
            .set("INBOX_WORKSPACE_ID", &self.workspace.id)
            .set("INBOX_TOKEN", &self.workspace.token)
            .set("INBOX_STATE_DIR", self.state().display())
            .set("INBOX_DIR", self.files.display())
    }

    /// A running inbox.
    pub(crate) fn run(&self) -> Process {
        self.command("run").spawn()
    }
}

/// Tells an inbox to stop, which it must do in order.
pub(crate) fn stop(inbox: &mut Process) {
    inbox.signal(Signal::TERM);
    let status = inbox.wait();
    assert_eq!(status.code(), Some(0), "{}", inbox.log());
    assert_no_secret_in(&inbox.log());
}
