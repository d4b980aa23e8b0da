//! The options, each with its environment variable.

use std::path::PathBuf;

use clap::Args;
use inbox_client::PlatformUrl;
use pending_uploads_core::WorkspaceId;

use command_line::{LogFilter, Secret};

use crate::values::{Bytes, Parallel, Seconds, ShellCommand, SomeBytes, WaitSeconds};

/// What every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "For every command")]
pub(crate) struct CommonFlags {
    /// Where the platform is [default: where the workspace was registered, else
    /// `http://127.0.0.1:8080`].
    #[arg(long, env = "INBOX_PLATFORM_URL", value_name = "URL", global = true)]
    pub(crate) platform_url: Option<PlatformUrl>,
    /// The workspace, a UUID [default: those in the settings file, else all that are registered].
    #[arg(long, env = "INBOX_WORKSPACE_ID", value_name = "ID", global = true)]
    pub(crate) workspace_id: Option<WorkspaceId>,
    /// The workspace's token; a variable or a file is not seen in the list of processes, as an option
    /// is [default: the one that was stored when the workspace was registered].
    #[arg(
        long,
        env = "INBOX_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    #[arg(global = true)]
    pub(crate) token: Option<Secret>,
    /// The file that holds the workspace's token; it is read again when the platform refuses the
    /// token.
    #[arg(long, env = "INBOX_TOKEN_FILE", value_name = "FILE", global = true)]
    pub(crate) token_file: Option<PathBuf>,
    /// The folder of what must outlive the process: registrations and journals [default:
    /// $XDG_STATE_HOME/pending-uploads-inbox, else ~/.local/state/pending-uploads-inbox].
    #[arg(long, env = "INBOX_STATE_DIR", value_name = "FOLDER", global = true)]
    pub(crate) state_dir: Option<PathBuf>,
    /// The settings file, in TOML [default: none].
    #[arg(long, env = "INBOX_CONFIG", value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
    /// How long a connection to the platform may take [default: 10].
    #[arg(
        long,
        env = "INBOX_CONNECT_TIMEOUT_SECS",
        value_name = "SECONDS",
        global = true
    )]
    pub(crate) connect_timeout_secs: Option<Seconds>,
    /// How long the platform may take to answer [default: 30].
    #[arg(
        long,
        env = "INBOX_ANSWER_TIMEOUT_SECS",
        value_name = "SECONDS",
        global = true
    )]
    pub(crate) answer_timeout_secs: Option<Seconds>,
    /// How long the platform may be silent in the middle of a file, either way [default: 30].
    #[arg(
        long,
        env = "INBOX_IDLE_TIMEOUT_SECS",
        value_name = "SECONDS",
        global = true
    )]
    pub(crate) idle_timeout_secs: Option<Seconds>,
    /// What is logged on stderr: a level, or levels by module [default: info of the inbox, warn of
    /// everything else].
    #[arg(long, env = "RUST_LOG", value_name = "FILTER", global = true)]
    pub(crate) log: Option<LogFilter>,
}

/// What the commands take that take files.
#[derive(Debug, Args)]
#[command(next_help_heading = "Taking files")]
pub(crate) struct TakeFlags {
    /// The folder of the files [default: ./inbox; with several workspaces, a folder for each in it,
    /// named after its id].
    #[arg(long, env = "INBOX_DIR", value_name = "FOLDER")]
    pub(crate) dir: Option<PathBuf>,
    /// How many files of a workspace are fetched at once [default: 4].
    #[arg(long, env = "INBOX_PARALLEL_FETCHES", value_name = "NUMBER")]
    pub(crate) parallel_fetches: Option<Parallel>,
    /// The largest file that is taken, in bytes [default: 1073741824].
    #[arg(long, env = "INBOX_MAX_FILE_BYTES", value_name = "BYTES")]
    pub(crate) max_file_bytes: Option<SomeBytes>,
    /// How many bytes of the disk are left free; until they are, nothing is fetched [default:
    /// 268435456].
    #[arg(long, env = "INBOX_MIN_FREE_BYTES", value_name = "BYTES")]
    pub(crate) min_free_bytes: Option<Bytes>,
    /// How long the platform is asked to wait when there is nothing new [default: 50].
    #[arg(long, env = "INBOX_POLL_WAIT_SECS", value_name = "SECONDS")]
    pub(crate) poll_wait_secs: Option<WaitSeconds>,
    /// How often the list of what waits is asked for, whatever the feed says [default: 300].
    #[arg(long, env = "INBOX_RECONCILE_SECS", value_name = "SECONDS")]
    pub(crate) reconcile_secs: Option<Seconds>,
    /// How many bytes a fetch must bring within the time of --slow-secs; one that brings less is ended, and
    /// goes on later [default: 65536].
    #[arg(long, env = "INBOX_SLOW_BYTES", value_name = "BYTES")]
    pub(crate) slow_bytes: Option<Bytes>,
    /// Within which time a fetch must bring the bytes of --slow-bytes [default: 60].
    #[arg(long, env = "INBOX_SLOW_SECS", value_name = "SECONDS")]
    pub(crate) slow_secs: Option<Seconds>,
    /// The longest wait before something that failed is tried again [default: 60].
    #[arg(long, env = "INBOX_LONGEST_RETRY_SECS", value_name = "SECONDS")]
    pub(crate) longest_retry_secs: Option<Seconds>,
}

/// What the daemon takes beyond that.
#[derive(Debug, Args)]
#[command(next_help_heading = "A command for each event")]
pub(crate) struct ExecFlags {
    /// The command that is run for each event, as `sh -c COMMAND` with the event on its stdin; the
    /// event is confirmed when it exits with 0, else it is run again [default: none, and events go to
    /// stdout].
    #[arg(long, env = "INBOX_EXEC", value_name = "COMMAND")]
    pub(crate) exec: Option<ShellCommand>,
    /// How long the command may take for one event [default: 3600].
    #[arg(long, env = "INBOX_EXEC_TIMEOUT_SECS", value_name = "SECONDS")]
    pub(crate) exec_timeout_secs: Option<Seconds>,
    /// How long a command that must end has to do so, after SIGTERM and before SIGKILL [default: 10].
    #[arg(long, env = "INBOX_EXEC_GRACE_SECS", value_name = "SECONDS")]
    pub(crate) exec_grace_secs: Option<Seconds>,
}

/// What is needed for a registration.
#[derive(Debug, Args)]
pub(crate) struct RegisterFlags {
    /// The agent's name for people, in its card on the platform [default: inbox].
    #[arg(long, env = "INBOX_AGENT_NAME", value_name = "NAME")]
    pub(crate) agent_name: Option<String>,
    /// The platform's admin token, where only the admin may register.
    #[arg(
        long,
        env = "INBOX_ADMIN_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    pub(crate) admin_token: Option<Secret>,
}
