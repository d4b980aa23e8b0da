//! The workspace's side, as a daemon and a command: files arrive, whatever happens.

mod cli;
mod config_file;
mod exec;
mod flags;
mod logging;
mod output;
mod process_group;
mod progress;
mod register;
mod registration;
mod run;
mod send;
mod settings;
mod settings_error;
mod signals;
mod status;
mod tokens;
mod values;
mod workspaces;

use std::process::ExitCode;

use command_line::Refusal;
use pending_uploads_core::Report;

use crate::cli::Invocation;

/// Something that was tried did not work.
const FAILED: u8 = 1;
/// A setting or an argument is wrong.
const MISUSED: u8 = 2;
/// Files are left waiting.
const LEFT_WAITING: u8 = 3;

/// How a command ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    /// It is done, or was told to stop.
    All,
    /// Files may still wait.
    LeftWaiting,
}

fn main() -> ExitCode {
    match cli::parse() {
        Ok(Invocation::Run(plan)) => finish(run::run(*plan)),
        Ok(Invocation::Status(plan)) => finish(status::run(&plan)),
        Ok(Invocation::Register(plan)) => finish(register::run(&plan)),
        Ok(Invocation::Send(plan)) => finish(send::run(*plan)),
        Err(Refusal::Wrong(sentence)) => refuse(&sentence),
        // Help or the version was asked for: clap prints it and ends the process.
        Err(Refusal::Information(asked)) => asked.exit(),
    }
}

fn finish<E: std::error::Error>(outcome: Result<Done, E>) -> ExitCode {
    match outcome {
        Ok(Done::All) => ExitCode::SUCCESS,
        Ok(Done::LeftWaiting) => {
            tell("something is left waiting");
            LEFT_WAITING.into()
        }
        Err(error) => {
            tell(&Report(&error).to_string());
            FAILED.into()
        }
    }
}

fn refuse(sentence: &str) -> ExitCode {
    tell(sentence);
    MISUSED.into()
}

/// Tells the person who started the command.
fn tell(sentence: &str) {
    command_line::tell("inbox", sentence);
}
