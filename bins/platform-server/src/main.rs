//! The platform server: takes uploads for workspaces that can only poll.

mod cli;
mod copy;
mod doctor;
mod logging;
mod metrics;
mod migrate;
mod readiness;
mod serve;
mod settings;
mod store;
mod values;

use std::process::ExitCode;

use command_line::Refusal;
use pending_uploads_core::Report;

use crate::cli::Invocation;

/// Something that was tried did not work.
const FAILED: u8 = 1;
/// A setting or an argument is wrong.
const MISUSED: u8 = 2;

fn main() -> ExitCode {
    match cli::parse() {
        Ok(Invocation::Serve(settings)) => finish(serve::run(*settings)),
        Ok(Invocation::Doctor(settings)) => finish(doctor::run(&settings)),
        Ok(Invocation::Migrate(plan)) => finish(migrate::run(&plan)),
        Ok(Invocation::Copy(plan)) => finish(copy::run(&plan)),
        Err(Refusal::Wrong(sentence)) => refuse(&sentence),
        // Help or the version was asked for: clap prints it and ends the process.
        Err(Refusal::Information(asked)) => asked.exit(),
    }
}

fn finish<E: std::error::Error>(outcome: Result<(), E>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
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

/// Tells the person who started it.
fn tell(sentence: &str) {
    command_line::tell("platform-server", sentence);
}
