//! Running cargo.

use std::env;
use std::ffi::{OsStr, OsString};
use std::process::{Command, ExitCode, ExitStatus};

use crate::error::TaskError;

/// How a task that was done went: the exit code that it ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome(u8);

impl Outcome {
    /// All is well.
    pub(crate) const SUCCESS: Self = Self(0);
    /// Somebody pressed Ctrl-C: what a shell would say of a program that died of it.
    pub(crate) const INTERRUPTED: Self = Self(130);
}

/// The program's own exit code; 1 when a signal ended it.
impl From<ExitStatus> for Outcome {
    fn from(status: ExitStatus) -> Self {
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        Self(code.unwrap_or(1))
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        outcome.0.into()
    }
}

/// A call of cargo: of the one that called us, if one did.
#[derive(Debug)]
pub(crate) struct Cargo(Command);

impl Cargo {
    /// `cargo <subcommand>`.
    pub(crate) fn new(subcommand: &str) -> Self {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut command = Command::new(cargo);
        command.arg(subcommand);
        Self(command)
    }

    /// Adds arguments.
    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.0.args(args);
        self
    }

    /// Sets a variable.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// Runs it to its end.
    pub(crate) fn run(mut self) -> Result<Outcome, TaskError> {
        announce(&self.0);
        let status = self.0.status().map_err(|source| TaskError::Run {
            program: "cargo".to_owned(),
            source,
        })?;
        Ok(status.into())
    }

    /// The command, for who wants to wait for more than its end.
    pub(crate) fn announced(self) -> Command {
        announce(&self.0);
        self.0
    }
}

#[expect(
    clippy::print_stderr,
    reason = "a task talks to the person at the terminal"
)]
fn announce(command: &Command) {
    let words: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
    eprintln!("==> cargo {}", words.join(" "));
}
