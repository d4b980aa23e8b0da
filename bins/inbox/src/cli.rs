//! The command line: what is to be done, and with which settings.

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};
use inbox_client::Scope;
use pending_uploads_core::{Mimetype, Token, WorkspaceId};

use crate::flags::{CommonFlags, ExecFlags, RegisterFlags, TakeFlags};
use crate::refusal::{Refusal, refusal};
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
  0  it is done, or stopped because it was told to (SIGTERM or Ctrl-C)
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
    Arguments::try_parse().map_err(refusal)?.invocation()
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
