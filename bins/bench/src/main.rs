//! How fast a server is, beside what its database, its disk and its web framework could do on the
//! same machine at the same time.

mod error;
mod floors;
mod load;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::BenchError;
use crate::floors::FloorError;
use crate::floors::command::FloorArguments;
use crate::floors::servers::{self, FloorServer};

/// How fast a server is, beside what its database, its disk and its web framework could do.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Measure one floor alone, and print its figures.
    Floor(FloorArguments),
    /// Start a server that is a floor, print its address and its process, and end it when stdin
    /// closes.
    #[command(subcommand)]
    Serve(FloorServer),
    /// Be a server that is a floor, until stdin closes.
    #[command(name = servers::COMMAND, hide = true, subcommand)]
    FloorServer(FloorServer),
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<(), BenchError> {
    match task {
        Task::Floor(arguments) => measure(&arguments),
        Task::Serve(server) => serve(&server),
        Task::FloorServer(server) => server.run(),
    }
}

fn measure(arguments: &FloorArguments) -> Result<(), BenchError> {
    let runtime = tokio::runtime::Runtime::new().map_err(FloorError::from)?;
    let figures = runtime.block_on(arguments.run())?;
    Ok(writeln!(io::stdout(), "{figures}").map_err(FloorError::from)?)
}

fn serve(server: &FloorServer) -> Result<(), BenchError> {
    let own = std::env::current_exe().map_err(FloorError::from)?;
    let running = server.launch(&own)?;
    let (address, pid) = (running.address(), running.pid());
    writeln!(io::stdout(), "{address} {pid}").map_err(FloorError::from)?;
    io::copy(&mut io::stdin(), &mut io::sink()).map_err(FloorError::from)?;
    Ok(())
}

/// Prints the error with its causes.
#[expect(
    clippy::print_stderr,
    reason = "a benchmark talks to the person at the terminal"
)]
fn report(error: &BenchError) {
    eprintln!("error: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        eprintln!("  because: {source}");
        cause = source.source();
    }
}
