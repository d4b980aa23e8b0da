//! How fast a server is, beside what its database, its disk and its web framework could do on the
//! same machine at the same time.

mod beside;
mod cell;
mod cli;
mod client;
mod error;
mod figures;
mod floors;
mod load;
mod measure;
mod meters;
mod output;
mod report;
mod run;
mod scenarios;
mod setup;
mod site;
mod targets;

use std::io;
use std::process::ExitCode;

use clap::Parser;

use crate::cell::Scale;
use crate::cli::{Arguments, Task, Wish};
use crate::error::BenchError;
use crate::floors::FloorError;
use crate::floors::command::FloorArguments;
use crate::floors::servers::FloorServer;

/// What a shell says of a program that died of Ctrl-C.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(BenchError::Interrupted) => INTERRUPTED.into(),
        Err(error) => {
            output::complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(mut arguments: Arguments) -> Result<(), BenchError> {
    match arguments.task.take() {
        None => measure(&arguments),
        Some(Task::Floor(floor)) => measure_floor(&floor),
        Some(Task::Serve(server)) => serve(&server),
        Some(Task::FloorServer(server)) => server.run(),
    }
}

fn measure_floor(arguments: &FloorArguments) -> Result<(), BenchError> {
    let figures = setup::runtime()?.block_on(arguments.run())?;
    output::print(&format!("{figures}\n"))
}

fn serve(server: &FloorServer) -> Result<(), BenchError> {
    let own = std::env::current_exe().map_err(FloorError::from)?;
    let running = server.launch(&own)?;
    let (address, pid) = (running.address(), running.pid());
    output::print(&format!("{address} {pid}\n"))?;
    io::copy(&mut io::stdin(), &mut io::sink()).map_err(FloorError::from)?;
    Ok(())
}

fn measure(arguments: &Arguments) -> Result<(), BenchError> {
    let plan = arguments.plan();
    if arguments.wish() == Wish::List {
        let names = plan.selection.cells();
        let names: Vec<_> = names.iter().map(|cell| format!("{cell}\n")).collect();
        return output::print(&names.concat());
    }
    let earlier = arguments.compare.as_deref().map(report::read).transpose()?;
    setup::allow_many_connections()?;
    let measured = run::run(&plan, setup::about(&plan));
    let outcome = setup::runtime()?.block_on(setup::unless_interrupted(measured))?;
    output::print(&report::table(&outcome.report))?;
    output::print(&report::statements(&outcome.statements))?;
    if plan.effort.scale == Scale::Full {
        output::print(&targets::verdicts(&outcome.report))?;
    }
    if let Some(earlier) = &earlier {
        output::print(&report::comparison(&outcome.report, earlier))?;
    }
    if let Some(path) = arguments.json.clone().or_else(|| setup::json_path(&plan)) {
        report::write(&outcome.report, &path)?;
        output::progress(&format!("the figures are in {}", path.display()));
    }
    Ok(())
}
