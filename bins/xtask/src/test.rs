//! `cargo xtask test`: every test, against a private cluster.

use std::ffi::{OsStr, OsString};

use pg_cluster::{Cluster, ClusterOptions, TEST_URL_VARIABLE};

use crate::cargo::{Cargo, Outcome};
use crate::child::{self, Stop};
use crate::error::TaskError;
use crate::postgres;

/// Many tests run at once, and each server under test has a pool of its own.
const CONNECTIONS: u32 = 400;

/// Runs `cargo test` with the URL of a fresh cluster in its environment, and answers how it went.
/// The cluster is gone afterwards, also after Ctrl-C.
pub(crate) fn run(cargo_arguments: &[OsString]) -> Result<Outcome, TaskError> {
    postgres::ensure_programs()?;
    let cluster = Cluster::start(ClusterOptions::default().max_connections(CONNECTIONS))?;
    let cargo = Cargo::new("test")
        .args(selection(cargo_arguments))
        .args(["--all-features", "--locked"])
        .args(cargo_arguments)
        .env(TEST_URL_VARIABLE, cluster.admin_url());
    child::run(cargo.announced(), Stop::Kill)
}

/// The whole workspace, unless the arguments name packages.
fn selection(cargo_arguments: &[OsString]) -> Option<&'static str> {
    let names_a_package = |argument: &OsString| {
        let text = argument.to_string_lossy();
        text.starts_with("-p") || text.starts_with("--package") || text == "--manifest-path"
    };
    let own = cargo_arguments
        .iter()
        .take_while(|argument| argument.as_os_str() != OsStr::new("--"));
    let named = own.into_iter().any(names_a_package);
    (!named).then_some("--workspace")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(arguments: &[&str]) -> Option<&'static str> {
        let arguments: Vec<_> = arguments.iter().map(OsString::from).collect();
        selection(&arguments)
    }

    #[test]
    fn the_whole_workspace_is_tested_unless_a_package_is_named() {
        for all in [&[][..], &["a_test"], &["--", "--package-like"]] {
            assert_eq!(selected(all), Some("--workspace"), "{all:?}");
        }
        for one in [&["-p", "x"][..], &["-px"], &["--package=x", "--", "y"]] {
            assert_eq!(selected(one), None, "{one:?}");
        }
    }
}
