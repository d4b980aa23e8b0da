//! `cargo xtask …`: what a shell script would be.

mod bench;
mod cargo;
mod child;
mod error;
mod postgres;
mod test;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cargo::{Cargo, Outcome};
use crate::error::TaskError;

/// The chores of this repository.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run every test of the workspace against a private PostgreSQL cluster.
    ///
    /// PostgreSQL's server programs are looked for in PATH and where Debian puts them; root on
    /// Debian gets them installed. The cluster lives in a temporary folder, on a free port, and is
    /// gone afterwards; no other cluster is touched.
    #[command(after_help = "PG_BIN_DIR names the folder of PostgreSQL's programs, if it is set.")]
    Test {
        /// What goes on to `cargo test`, such as `-p upload-http a_cursor`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        cargo_arguments: Vec<OsString>,
    },
    /// Measure how fast the server is, on both backends.
    ///
    /// It builds the server and the benchmark for release, and runs the benchmark, which starts a
    /// private PostgreSQL and servers of its own. PostgreSQL's programs are looked for, or installed,
    /// as for the tests. docs/benchmarks.md says what the figures mean.
    #[command(disable_help_flag = true)]
    #[command(after_help = "`cargo xtask bench --help` lists the benchmark's own options.")]
    Bench {
        /// What goes on to the benchmark, such as `--smoke` or `--only 'upload of 25 MB'`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Check the formatting, and let clippy and rustdoc complain.
    Lint,
    /// Build the documentation of the workspace's crates, and refuse what rustdoc complains about.
    Doc,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments.task) {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<Outcome, TaskError> {
    match task {
        Task::Test { cargo_arguments } => test::run(&cargo_arguments),
        Task::Bench { arguments } => bench::run(&arguments),
        Task::Lint => lint(),
        Task::Doc => doc().run(),
    }
}

/// Runs each check, the later ones only when the earlier ones pass.
fn lint() -> Result<Outcome, TaskError> {
    let checks = [
        Cargo::new("fmt").args(["--all", "--check"]),
        Cargo::new("clippy")
            .args(["--workspace", "--all-targets", "--all-features", "--locked"])
            .args(["--", "-D", "warnings"]),
        doc(),
    ];
    for check in checks {
        let outcome = check.run()?;
        if outcome != Outcome::SUCCESS {
            return Ok(outcome);
        }
    }
    Ok(Outcome::SUCCESS)
}

fn doc() -> Cargo {
    Cargo::new("doc")
        .args(["--workspace", "--no-deps", "--all-features", "--locked"])
        .env("RUSTDOCFLAGS", "-D warnings")
}

/// Prints the error with its causes.
#[expect(
    clippy::print_stderr,
    reason = "a task talks to the person at the terminal"
)]
fn report(error: &TaskError) {
    eprintln!("error: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        eprintln!("  because: {source}");
        cause = source.source();
    }
}
