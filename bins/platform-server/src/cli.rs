//! The command line: what is to be done, and with which settings.

use clap::{Args, Parser, Subcommand};
use command_line::{Refusal, Secret};

use crate::settings::{ServeFlags, ServeSettings, SettingsError, StoreFlags};
use crate::store::StoreSettings;

const EXIT_CODES: &str = "\
Exit codes:
  0  it stopped because it was told to (SIGTERM, Ctrl-C or SIGHUP), or the command is done
  1  it could not start, go on or do the command, the doctor found something wrong, or it was told
     twice to stop
  2  a setting or an argument is wrong

Each setting can be given as an option or as the environment variable of the same name; the option \
wins. See docs/operations.md.";

/// Takes uploads for workspaces that can only poll, and keeps them until the workspace comes.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    store: StoreFlags,
    #[command(flatten)]
    serve: ServeFlags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring the store's tables up to date, or those of PostgreSQL back to an earlier version, and
    /// exit.
    Migrate(MigrateFlags),
    /// Check the settings, the store, its tables, the disk and the clock, print a line for each with
    /// what to do, and exit; nothing is changed.
    Doctor,
    /// Copy everything that a store holds into an empty one, such as from a data folder to
    /// PostgreSQL, and exit. No server may run on either. A copy that fails leaves the one as it was
    /// and the other as empty.
    Copy(CopyFlags),
}

#[derive(Debug, Args)]
struct MigrateFlags {
    /// Undo every migration after this version; 0 removes all tables with all they hold.
    #[arg(long, value_name = "VERSION")]
    down_to: Option<u32>,
}

#[derive(Debug, Args)]
struct CopyFlags {
    /// The store to copy, as postgres://… or `sqlite://FOLDER`; a variable is not seen in the list
    /// of processes, as an option with a password is.
    #[arg(long, env = "COPY_FROM", value_name = "URL", hide_env_values = true)]
    from: Secret,
    /// The store to fill, which must be empty; PostgreSQL with its tables, as migrate makes them.
    #[arg(long, env = "COPY_TO", value_name = "URL", hide_env_values = true)]
    to: Secret,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Invocation {
    /// Serve, with these settings.
    Serve(Box<ServeSettings>),
    /// Check what serving with these settings would need.
    Doctor(Box<ServeSettings>),
    /// Migrate the store.
    Migrate(Box<MigratePlan>),
    /// Copy a store.
    Copy(Box<CopyPlan>),
}

/// Which store to migrate, and which way.
#[derive(Debug)]
pub(crate) struct MigratePlan {
    /// Where everything is kept.
    pub(crate) store: StoreSettings,
    /// Which way.
    pub(crate) direction: Direction,
}

/// Which store to copy, and where to.
#[derive(Debug)]
pub(crate) struct CopyPlan {
    /// The store that is read.
    pub(crate) from: StoreSettings,
    /// The store that is filled: another one.
    pub(crate) to: StoreSettings,
}

/// Which way a migration goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To the newest version.
    Up,
    /// Back to this version.
    DownTo(u32),
}

/// Reads the arguments and the environment of this process.
pub(crate) fn parse() -> Result<Invocation, Refusal> {
    Arguments::try_parse().map_err(Refusal::from)?.invocation()
}

impl Arguments {
    fn invocation(self) -> Result<Invocation, Refusal> {
        let store = || self.store.parse().map_err(|error| wrong(&error));
        match self.command {
            Some(Command::Copy(flags)) => {
                copy_plan(&self.store, &flags).map(|plan| Invocation::Copy(Box::new(plan)))
            }
            Some(Command::Migrate(flags)) => Ok(Invocation::Migrate(Box::new(MigratePlan {
                store: store()?,
                direction: flags.down_to.map_or(Direction::Up, Direction::DownTo),
            }))),
            Some(Command::Doctor) => serve_settings(self.serve, store()?)
                .map(|settings| Invocation::Doctor(Box::new(settings))),
            None => serve_settings(self.serve, store()?)
                .map(|settings| Invocation::Serve(Box::new(settings))),
        }
    }
}

/// Neither store is the one that a server would be started with, so that its URL is not looked at.
fn copy_plan(store: &StoreFlags, flags: &CopyFlags) -> Result<CopyPlan, Refusal> {
    let parse = |option, url: &Secret| {
        store.parse_url(url.expose()).map_err(|error| match error {
            SettingsError::Database(error) => {
                Refusal::Wrong(format!("{option} cannot be used: {error}"))
            }
            error => wrong(&error),
        })
    };
    let plan = CopyPlan {
        from: parse("--from", &flags.from)?,
        to: parse("--to", &flags.to)?,
    };
    if plan.from.is_same_place(&plan.to) {
        let sentence = format!("--from and --to are the same store: {}", plan.from);
        return Err(Refusal::Wrong(sentence));
    }
    Ok(plan)
}

fn serve_settings(flags: ServeFlags, store: StoreSettings) -> Result<ServeSettings, Refusal> {
    flags.parse(store).map_err(|error| wrong(&error))
}

fn wrong(error: &SettingsError) -> Refusal {
    Refusal::Wrong(error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn help_names_every_setting_as_an_option_and_as_a_variable() {
        let help = Arguments::command().render_long_help().to_string();
        for variable in [
            "BIND",
            "DATABASE_URL",
            "DATA_DIR",
            "ADMIN_TOKEN",
            "REGISTRATION",
            "MAX_FILE_BYTES",
            "MAX_REQUEST_BYTES",
            "MAX_FILES",
            "UPLOAD_TTL_SECS",
            "ACK_RETENTION_SECS",
            "SWEEP_INTERVAL_SECS",
            "FEED_RETENTION_SECS",
            "STAGING_LEASE_SECS",
            "DATABASE_POOL_SIZE",
            "DATABASE_WAIT_SECS",
            "DATABASE_CA_FILE",
            "IDLE_TIMEOUT_SECS",
            "MAX_WAITING_BYTES",
            "MAX_WAITING_FILES",
            "ALLOW_PRIVATE_CALLBACKS",
            "SHUTDOWN_TIMEOUT_SECS",
            "RUST_LOG",
        ] {
            assert!(
                help.contains(&format!("[env: {variable}")),
                "{variable}\n{help}"
            );
        }
    }

    fn outcome(arguments: &[&str]) -> Result<Invocation, Refusal> {
        let name = ["platform-server"];
        Arguments::try_parse_from(name.iter().chain(arguments))
            .map_err(Refusal::from)?
            .invocation()
    }

    fn refused(arguments: &[&str]) -> String {
        match outcome(arguments) {
            Err(Refusal::Wrong(sentence)) => sentence,
            other => panic!("{arguments:?} should be refused: {other:?}"),
        }
    }

    #[test]
    fn a_copy_names_two_different_stores() {
        let copy = ["copy", "--from=sqlite://a", "--to=postgres://u:hunter2@h/d"];
        let Ok(Invocation::Copy(plan)) = outcome(&copy) else {
            panic!("a copy was asked for");
        };
        assert_eq!(plan.to.to_string(), "PostgreSQL at h:5432/d");
        assert!(refused(&["copy"]).contains("--from <URL>"));
        assert!(refused(&["copy", "--from=sqlite://a"]).contains("--to <URL>"));
        for same in [
            ["copy", "--from=sqlite://a", "--to=sqlite://./a"],
            [
                "copy",
                "--from=postgres://a:1@h/d",
                "--to=postgres://b:2@h:5432/d",
            ],
        ] {
            let sentence = refused(&same);
            assert!(sentence.contains("are the same store"), "{sentence}");
        }
    }

    #[test]
    fn a_store_that_cannot_be_copied_is_named_by_its_option() {
        let sentence = refused(&["copy", "--from=sqlite://a", "--to=mysql://u:hunter2@h/d"]);
        assert!(sentence.starts_with("--to cannot be used"), "{sentence}");
        assert!(!sentence.contains("hunter2"), "{sentence}");
    }

    #[test]
    fn a_secret_in_the_wrong_place_is_not_repeated() {
        for arguments in [
            ["platform-server", "postgres://u:hunter2@h/d"],
            ["platform-server", "--databse-url=postgres://u:hunter2@h/d"],
        ] {
            match Arguments::try_parse_from(arguments).unwrap_err().into() {
                Refusal::Wrong(sentence) => {
                    assert!(!sentence.contains("hunter2"), "{sentence}");
                    assert!(!sentence.contains('\n'), "{sentence}");
                }
                Refusal::Information(_) => panic!("no help was asked for"),
            }
        }
    }
}
