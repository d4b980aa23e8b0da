//! `cargo xtask bench`: the server and the benchmark, built for release, one after the other.

use std::ffi::OsString;
use std::time::Duration;

use crate::cargo::{Cargo, Outcome};
use crate::child::{self, Stop};
use crate::error::TaskError;
use crate::postgres;

/// What the benchmark may take to end its servers and its cluster, and to remove their folders.
const CLEANING: Duration = Duration::from_mins(2);

/// Builds both, and answers how the benchmark went. The server is built by itself, as for a release:
/// built together with others, its dependencies could get features that only the others want.
pub(crate) fn run(arguments: &[OsString]) -> Result<Outcome, TaskError> {
    postgres::ensure_programs()?;
    let built = Cargo::new("build")
        .args(["--release", "--locked", "--package", "platform-server"])
        .run()?;
    if built != Outcome::SUCCESS {
        return Ok(built);
    }
    let benchmark = Cargo::new("run")
        .args(["--release", "--locked", "--package", "bench", "--"])
        .args(arguments);
    child::run(benchmark.announced(), Stop::Clean(CLEANING))
}
