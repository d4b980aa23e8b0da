//! The command line: what is to be done, and with which settings.

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};
use command_line::Refusal;
use inbox_client::Scope;
use pending_uploads_core::{Mimetype, Token, WorkspaceId};

use crate::flags::{CommonFlags, ExecFlags, RegisterFlags, TakeFlags};
use crate::register::{Chosen, RegisterPlan};
use crate::registration::StoredRegistration;
use crate::run::RunPlan;
use crate::send::{SendPlan, Source};
use crate::settings::{ExecSettings, Settings};
use crate::settings_error::SettingsError;
use crate::status::{Format, StatusPlan};
use crate::workspaces;

/// What a file from stdin is called when nobody says.
const STDIN_NAME: &str = "stdin";

const EXIT_CODES: &str = "\
Exit codes:
  0  it is done, or stopped because it was told to (SIGTERM, Ctrl-C or SIGHUP)
  1  it could not start, go on or do the command, or it was told twice to stop
  2  a setting or an argument is wrong
  3  fetch --once: something is left waiting

Each setting can be given as an option, as the environment variable beside it, or in the settings \
file; the option wins over the variable, and that over the file. See docs/inbox.md.";

/// Takes what is sent to a workspace: files arrive in a folder, events on stdout.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: CommonFlags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take files and messages as they come, until it is told to stop; each event is a line of JSON
    /// on stdout, or a run of the command of --exec.
    #[command(after_help = EXIT_CODES)]
    Run(RunFlags),
    /// Take files and leave messages to a later run; each file is a line of JSON on stdout.
    #[command(after_help = EXIT_CODES)]
    Fetch(FetchFlags),
    /// Say how far the inbox is: its cursor, what waits, what has arrived, what is lost.
    #[command(after_help = EXIT_CODES)]
    Status(StatusFlags),
    /// Register a workspace that polls, store its token, and print its id. An id that was registered
    /// from here keeps its token.
    #[command(after_help = EXIT_CODES)]
    Register(RegisterFlags),
    /// Send files to a workspace, all of them or none; each is a line of JSON on stdout.
    #[command(after_help = EXIT_CODES)]
    Send(SendFlags),
}

#[derive(Debug, Args)]
struct RunFlags {
    #[command(flatten)]
    take: TakeFlags,
    #[command(flatten)]
    exec: ExecFlags,
}

#[derive(Debug, Args)]
struct FetchFlags {
    /// Take what waits now, and exit: with 0 when everything was taken, with 3 when something is left.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    take: TakeFlags,
}

#[derive(Debug, Args)]
struct StatusFlags {
    /// Print a line of JSON for each workspace.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct SendFlags {
    /// The files; - is stdin.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What the file from stdin is called [default: stdin].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The media type of the files [default: what the ending of each name suggests].
    #[arg(long, value_name = "TYPE")]
    mime_type: Option<String>,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Invocation {
    /// Run inboxes.
    Run(Box<RunPlan>),
    /// Tell how far they are.
    Status(Box<StatusPlan>),
    /// Register a workspace.
    Register(Box<RegisterPlan>),
    /// Send files.
    Send(Box<SendPlan>),
}

/// Reads the arguments, the environment, the settings file and what is registered.
pub(crate) fn parse() -> Result<Invocation, Refusal> {
    Arguments::try_parse().map_err(Refusal::from)?.invocation()
}

impl Arguments {
    fn invocation(self) -> Result<Invocation, Refusal> {
        let settings = Settings::read(self.common)?;
        match self.command {
            Command::Run(flags) => {
                let exec = settings.exec(&flags.exec);
                run_plan(settings, &flags.take, Scope::Everything, exec)
            }
            Command::Fetch(flags) => {
                let scope = if flags.once {
                    Scope::WaitingFiles
                } else {
                    Scope::Files
                };
                run_plan(settings, &flags.take, scope, None)
            }
            Command::Status(flags) => status_plan(settings, &flags),
            Command::Register(flags) => register_plan(settings, flags),
            Command::Send(flags) => send_plan(&settings, flags),
        }
    }
}

fn run_plan(
    settings: Settings,
    take: &TakeFlags,
    scope: Scope,
    exec: Option<ExecSettings>,
) -> Result<Invocation, Refusal> {
    let workspaces = workspaces::all(&settings, take.dir.as_deref())?;
    let with_tokens = workspaces.into_iter().map(|workspace| {
        let token = workspace.token()?;
        Ok((workspace, token))
    });
    Ok(Invocation::Run(Box::new(RunPlan {
        workspaces: with_tokens.collect::<Result<_, SettingsError>>()?,
        scope,
        take: settings.take(take),
        exec,
        log: settings.log().to_owned(),
        state_folder: settings.state_folder,
    })))
}

fn status_plan(settings: Settings, flags: &StatusFlags) -> Result<Invocation, Refusal> {
    Ok(Invocation::Status(Box::new(StatusPlan {
        workspaces: workspaces::all(&settings, None)?,
        timeouts: settings.timeouts(),
        format: if flags.json {
            Format::Json
        } else {
            Format::Text
        },
        log: settings.log().to_owned(),
        state_folder: settings.state_folder,
    })))
}

fn register_plan(settings: Settings, flags: RegisterFlags) -> Result<Invocation, Refusal> {
    let named = workspaces::named(&settings);
    let (id, chosen) = match named {
        Some(id) => (id, Chosen::ByHand),
        None => (WorkspaceId::generate(), Chosen::AtRandom),
    };
    let stored =
        StoredRegistration::read(&settings.state_folder, id).map_err(SettingsError::from)?;
    let admin_token = flags
        .admin_token
        .or_else(|| settings.file.admin_token.clone());
    let admin_token = admin_token.map(|token| {
        let parsed: Result<Token, _> = token.expose().parse();
        parsed.map_err(|source| SettingsError::Token {
            name: "INBOX_ADMIN_TOKEN",
            source,
        })
    });
    Ok(Invocation::Register(Box::new(RegisterPlan {
        id,
        chosen,
        platform_url: workspaces::platform_to_register_at(&settings, id, stored.as_ref())?,
        agent_name: flags
            .agent_name
            .or_else(|| settings.file.agent_name.clone()),
        // A token that is at hand is that of a workspace that was named.
        token: match chosen {
            Chosen::ByHand => workspaces::token_of_one(&settings, id, stored.as_ref())?,
            Chosen::AtRandom => None,
        },
        admin_token: admin_token.transpose()?,
        stored,
        timeouts: settings.timeouts(),
        log: settings.log().to_owned(),
        state_folder: settings.state_folder,
    })))
}

fn send_plan(settings: &Settings, flags: SendFlags) -> Result<Invocation, Refusal> {
    let files = sources(flags.files, flags.name)?;
    let mimetype = flags.mime_type.as_deref().map(mimetype).transpose()?;
    let workspace = workspaces::one(settings)?;
    let token = workspace.token()?;
    Ok(Invocation::Send(Box::new(SendPlan {
        workspace: (workspace, token),
        files,
        mimetype,
        timeouts: settings.timeouts(),
        log: settings.log().to_owned(),
    })))
}

fn sources(files: Vec<PathBuf>, name: Option<String>) -> Result<Vec<Source>, Refusal> {
    let from_stdin = files.iter().filter(|file| is_stdin(file)).count();
    match (from_stdin, &name) {
        (0, Some(_)) => Err(wrong("--name is for a file from stdin, and none is sent")),
        (0 | 1, _) => {
            let name = name.unwrap_or_else(|| STDIN_NAME.to_owned());
            let source = |file: PathBuf| {
                if is_stdin(&file) {
                    Source::Stdin { name: name.clone() }
                } else {
                    Source::Path(file)
                }
            };
            Ok(files.into_iter().map(source).collect())
        }
        _ => Err(wrong("stdin can be sent once")),
    }
}

fn is_stdin(file: &Path) -> bool {
    file == Path::new("-")
}

fn mimetype(text: &str) -> Result<Mimetype, Refusal> {
    let parsed = Mimetype::parse(text);
    let same = parsed.as_str() == text && !text.is_empty();
    same.then_some(parsed)
        .ok_or_else(|| wrong("--mime-type must be a type and a subtype, such as text/plain"))
}

fn wrong(sentence: &str) -> Refusal {
    Refusal::Wrong(sentence.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    /// Every setting, with its variable.
    fn settings() -> Vec<(String, String)> {
        let mut command = Arguments::command();
        command.build();
        let commands = command.get_subcommands();
        let arguments = commands.flat_map(clap::Command::get_arguments);
        let name = |text: &std::ffi::OsStr| text.to_str().unwrap().to_owned();
        let named = arguments.filter_map(|argument| {
            let option = argument.get_long()?.replace('-', "_");
            Some((option, name(argument.get_env()?)))
        });
        named.collect()
    }

    #[test]
    fn every_setting_has_a_variable_of_its_own_name() {
        let settings = settings();
        assert!(settings.len() > 20, "{settings:?}");
        for (option, variable) in settings {
            if option == "log" {
                assert_eq!(variable, "RUST_LOG");
            } else {
                assert_eq!(variable, format!("INBOX_{}", option.to_uppercase()));
            }
        }
    }

    #[test]
    fn every_setting_but_the_file_itself_can_stand_in_the_file() {
        for (option, _) in settings() {
            // A value of a wrong kind is refused, and a key that is none is refused as such.
            let error = toml::from_str::<crate::config_file::ConfigFile>(&format!("{option} = []"));
            let message = error.unwrap_err().message().to_owned();
            let unknown = message.starts_with("unknown field");
            assert_eq!(unknown, option == "config", "{option}: {message}");
        }
    }

    fn refused(arguments: &[&str]) -> String {
        let parsed = Arguments::try_parse_from(["inbox"].iter().chain(arguments));
        match parsed
            .map_err(Refusal::from)
            .and_then(Arguments::invocation)
        {
            Err(Refusal::Wrong(sentence)) => sentence,
            other => panic!("{arguments:?} should be refused: {other:?}"),
        }
    }

    #[test]
    fn a_secret_in_the_wrong_place_is_not_repeated() {
        for arguments in [
            &["hunter2"][..],
            &["status", "hunter2"],
            &["status", "--tokn=hunter2"],
            &["status", "--json=hunter2"],
            &["status", "--workspace-id=hunter2"],
            &["status", "--platform-url=http://u:hunter2@h"],
            &["status", "--connect-timeout-secs=hunter2"],
            &["status", "--log=hunter2=hunter2"],
            &[
                "run",
                "--token=hunter2 hunter2",
                "--workspace-id=11111111-1111-4111-8111-111111111111",
            ],
            &["register", "--admin-token=hunter2 hunter2"],
        ] {
            let sentence = refused(arguments);
            assert!(!sentence.contains("hunter2"), "{arguments:?}: {sentence}");
            assert!(!sentence.contains('\n'), "{arguments:?}: {sentence}");
        }
    }

    #[test]
    fn stdin_is_sent_once_under_a_name_of_its_own() {
        let stdin = |name: &str| Source::Stdin {
            name: name.to_owned(),
        };
        let files = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let named = |name: &str| Some(name.to_owned());
        assert_eq!(
            sources(files(&["a", "-"]), named("b")).unwrap(),
            [Source::Path("a".into()), stdin("b")]
        );
        assert_eq!(sources(files(&["-"]), None).unwrap(), [stdin("stdin")]);
        assert!(sources(files(&["-", "-"]), None).is_err());
        assert!(sources(files(&["a"]), named("b")).is_err());
    }

    #[test]
    fn a_media_type_is_taken_as_it_is_or_not_at_all() {
        assert_eq!(mimetype("text/x-a").unwrap().as_str(), "text/x-a");
        for text in [
            "",
            "text",
            "text/plain; charset=utf-8",
            "a b/c",
            "text/\r\n",
        ] {
            assert!(mimetype(text).is_err(), "{text}");
        }
    }
}
