//! What is asked for at the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::cell::{Backend, Scale, Selection};
use crate::floors::command::FloorArguments;
use crate::floors::servers::{self, FloorServer};
use crate::measure::Effort;
use crate::site::Way;

const FULL_SECONDS: f64 = 3.0;
const SMOKE_SECONDS: f64 = 0.1;
const FULL_RUNS: u32 = 3;

/// How fast a server is, beside what its database, its disk and its web framework could do on the
/// same machine at the same time.
///
/// It starts servers and a PostgreSQL of its own, and speaks with 127.0.0.1 only. Everything is
/// synced to the disk as in production; what counts is the disk with the folder for temporary files
/// (TMPDIR). Nothing is left, also after Ctrl-C.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask bench", args_conflicts_with_subcommands = true)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) task: Option<Task>,
    /// Only show that everything runs, within a minute: the figures mean nothing.
    #[arg(long)]
    smoke: bool,
    /// Only measure cells with this in their name, such as `postgres: upload of 25 MB`; may be
    /// repeated.
    #[arg(long, value_name = "PART OF A NAME")]
    only: Vec<String>,
    /// Only measure this backend.
    #[arg(long, value_name = "BACKEND")]
    backend: Option<Backend>,
    /// How often everything is measured [default: 3, with --smoke 1].
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: Option<u32>,
    /// How long each cell is measured [default: 3, with --smoke 0.1].
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    seconds: Option<Duration>,
    /// Do not measure the floors.
    #[arg(long)]
    no_floors: bool,
    /// Show which statements a request sends to PostgreSQL.
    #[arg(long)]
    statements: bool,
    /// How servers and floors reach PostgreSQL.
    #[arg(long, value_name = "WAY", default_value = "socket")]
    postgres_over: Way,
    /// Set a variable of the server, such as `DATABASE_POOL_SIZE=4`; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,
    /// Where to write the figures [default: target/bench/TIME.json; with --smoke nowhere].
    #[arg(long, value_name = "PATH")]
    pub(crate) json: Option<PathBuf>,
    /// Show each row beside the one in the figures of an earlier run.
    #[arg(long, value_name = "EARLIER.json")]
    pub(crate) compare: Option<PathBuf>,
    /// Only print the names of the cells.
    #[arg(long)]
    list: bool,
}

/// What is done instead of measuring cells.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
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

/// What is to be done with the cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    List,
    Measure,
}

/// Whether something is measured or shown that need not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Yes,
    No,
}

impl Wanted {
    fn when(wanted: bool) -> Self {
        if wanted { Self::Yes } else { Self::No }
    }
}

/// How everything is measured.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) selection: Selection,
    pub(crate) effort: Effort,
    pub(crate) runs: u32,
    pub(crate) floors: Wanted,
    pub(crate) statements: Wanted,
    pub(crate) way: Way,
    pub(crate) settings: Vec<(String, String)>,
}

impl Arguments {
    /// What is to be done.
    pub(crate) fn wish(&self) -> Wish {
        if self.list { Wish::List } else { Wish::Measure }
    }

    /// How it is to be done.
    pub(crate) fn plan(&self) -> Plan {
        let (scale, runs, seconds) = if self.smoke {
            (Scale::Smoke, 1, SMOKE_SECONDS)
        } else {
            (Scale::Full, FULL_RUNS, FULL_SECONDS)
        };
        let backends = match self.backend {
            Some(one) => vec![one],
            None => vec![Backend::Postgres, Backend::Sqlite],
        };
        Plan {
            selection: Selection {
                scale,
                only: self.only.clone(),
                backends,
            },
            effort: Effort {
                scale,
                window: self.seconds.unwrap_or(Duration::from_secs_f64(seconds)),
            },
            runs: self.runs.unwrap_or(runs),
            floors: Wanted::when(!self.no_floors),
            statements: Wanted::when(self.statements),
            way: self.postgres_over,
            settings: self.set.clone(),
        }
    }
}

/// A length of time, which is given in seconds and may be a fraction of one.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "no number".to_owned())?;
    if (0.01..=3600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("0.01 to 3600 seconds can be measured".to_owned())
    }
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("an equals sign is missing")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(arguments: &[&str]) -> Plan {
        let all = ["bench"].iter().chain(arguments);
        Arguments::try_parse_from(all).unwrap().plan()
    }

    #[test]
    fn a_smoke_run_is_short_unless_it_is_told_otherwise() {
        let smoke = plan(&["--smoke"]);
        assert_eq!((smoke.runs, smoke.effort.scale), (1, Scale::Smoke));
        assert_eq!(smoke.effort.window, Duration::from_millis(100));
        let full = plan(&["--seconds", "0.5", "--backend", "sqlite"]);
        assert_eq!((full.runs, full.effort.scale), (3, Scale::Full));
        assert_eq!(full.effort.window, Duration::from_millis(500));
        assert_eq!(full.selection.backends, [Backend::Sqlite]);
    }

    #[test]
    fn a_setting_may_hold_an_equals_sign() {
        let expected = [("A".to_owned(), "b=c".to_owned())];
        assert_eq!(plan(&["--set", "A=b=c"]).settings, expected);
        assert!(Arguments::try_parse_from(["bench", "--set", "A"]).is_err());
    }

    #[test]
    fn every_floor_can_be_measured_alone() {
        let floors: [&[&str]; 10] = [
            &["postgres", "--url", "postgres://localhost/bench", "copy"],
            &["postgres", "--url", "postgres://localhost/bench", "windows"],
            &["postgres", "--url", "postgres://localhost/bench", "publish"],
            &["postgres", "--url", "postgres://localhost/bench", "ack"],
            &["postgres", "--url", "postgres://localhost/bench", "poll"],
            &["sqlite", "--folder", "data", "publish"],
            &["sqlite", "--folder", "data", "ack"],
            &["sqlite", "--folder", "data", "poll"],
            &["disk", "--folder", "data", "write"],
            &["disk", "--folder", "data", "read"],
        ];
        for floor in floors {
            for given in [
                &["bench", "floor"][..],
                &["bench", "floor", "--seconds", "0.5"],
            ] {
                let all = given.iter().chain(floor);
                let arguments = Arguments::try_parse_from(all).unwrap();
                assert!(matches!(arguments.task, Some(Task::Floor(_))), "{floor:?}");
            }
        }
    }

    #[test]
    fn no_time_at_all_is_refused() {
        for wrong in ["0", "-1", "x", "nan", "1e9"] {
            let given = format!("--seconds={wrong}");
            assert!(
                Arguments::try_parse_from(["bench", &given]).is_err(),
                "{wrong}"
            );
        }
    }
}
