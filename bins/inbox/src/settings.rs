//! The settings: a flag wins over its environment variable, that over the file, that over the default.

use std::env;
use std::num::NonZeroUsize;
use std::path::{self, PathBuf};
use std::time::Duration;

use inbox_client::{FetchLimits, RetryPolicy, SlowPeer, Timeouts};

use crate::config_file::ConfigFile;
use crate::flags::{CommonFlags, ExecFlags, TakeFlags};
use crate::logging::DEFAULT_FILTER;
use crate::settings_error::SettingsError;
use command_line::LogFilter;

use crate::values::{Bytes, Parallel, Seconds, ShellCommand, SomeBytes, WaitSeconds};

/// Where a platform on this machine listens by default.
pub(crate) const DEFAULT_PLATFORM: &str = "http://127.0.0.1:8080";
/// How many files are fetched at once by default.
const DEFAULT_PARALLEL: NonZeroUsize = const { NonZeroUsize::new(4).unwrap() };
/// How often what waits is asked for by default, whatever the feed says.
const DEFAULT_RECONCILE: Duration = Duration::from_mins(5);
/// How long a command may take for one event by default.
const DEFAULT_EXEC_TIMEOUT: Duration = Duration::from_hours(1);
/// How long a command that must end has to do so by default.
const DEFAULT_EXEC_GRACE: Duration = Duration::from_secs(10);
/// The folder of the state within those of all programs.
const STATE_NAME: &str = "pending-uploads-inbox";

/// The settings of every command: what the flags and variables say, and the file below them.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The flags, with their variables.
    pub(crate) flags: CommonFlags,
    /// The file.
    pub(crate) file: ConfigFile,
    /// The folder of the state; absolute.
    pub(crate) state_folder: PathBuf,
}

/// How files are taken.
#[derive(Debug, Clone)]
pub(crate) struct TakeSettings {
    /// How many files of a workspace are fetched at once.
    pub(crate) parallel_fetches: NonZeroUsize,
    /// What is taken.
    pub(crate) limits: FetchLimits,
    /// How long the platform is waited for.
    pub(crate) timeouts: Timeouts,
    /// How things are tried again.
    pub(crate) retry: RetryPolicy,
    /// How often the list of what waits is asked for.
    pub(crate) reconcile_every: Duration,
}

/// What is run for each event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExecSettings {
    /// The command.
    pub(crate) command: ShellCommand,
    /// How long it may take for one event.
    pub(crate) timeout: Duration,
    /// How long it has to end when it must.
    pub(crate) grace: Duration,
}

impl Settings {
    /// Reads the file that the flags name, if they name one.
    pub(crate) fn read(flags: CommonFlags) -> Result<Self, SettingsError> {
        let file = match &flags.config {
            Some(path) => ConfigFile::read(path)?,
            None => ConfigFile::default(),
        };
        let named = flags.state_dir.clone().or_else(|| file.state_dir.clone());
        let state_folder = match named {
            Some(named) => absolute("INBOX_STATE_DIR", named)?,
            None => default_state_folder().ok_or(SettingsError::NoHome)?,
        };
        Ok(Self {
            flags,
            file,
            state_folder,
        })
    }

    /// What is logged.
    pub(crate) fn log(&self) -> &str {
        let flag = self.flags.log.as_ref();
        let named = flag.or(self.file.log.as_ref().map(|log| &log.0));
        named.map_or(DEFAULT_FILTER, LogFilter::as_str)
    }

    /// How long the platform is waited for, but for polls.
    pub(crate) fn timeouts(&self) -> Timeouts {
        let (flags, file, default) = (&self.flags, &self.file, Timeouts::default());
        let connect = flags.connect_timeout_secs.or(file.connect_timeout_secs);
        let answer = flags.answer_timeout_secs.or(file.answer_timeout_secs);
        let idle = flags.idle_timeout_secs.or(file.idle_timeout_secs);
        Timeouts {
            connect: connect.map_or(default.connect, Seconds::seconds),
            answer: answer.map_or(default.answer, Seconds::seconds),
            idle: idle.map_or(default.idle, Seconds::seconds),
            ..default
        }
    }

    /// How files are taken.
    pub(crate) fn take(&self, flags: &TakeFlags) -> TakeSettings {
        let file = &self.file;
        let parallel = flags.parallel_fetches.or(file.parallel_fetches);
        let reconcile = flags.reconcile_secs.or(file.reconcile_secs);
        let longest = flags.longest_retry_secs.or(file.longest_retry_secs);
        let default = RetryPolicy::default();
        let longest = longest.map_or(default.longest, Seconds::seconds);
        TakeSettings {
            parallel_fetches: parallel
                .and_then(Parallel::count)
                .unwrap_or(DEFAULT_PARALLEL),
            limits: self.limits(flags),
            timeouts: self.polling_timeouts(flags),
            retry: RetryPolicy {
                first: default.first.min(longest),
                longest,
                ..default
            },
            reconcile_every: reconcile.map_or(DEFAULT_RECONCILE, Seconds::seconds),
        }
    }

    fn limits(&self, flags: &TakeFlags) -> FetchLimits {
        let (file, default) = (&self.file, FetchLimits::default());
        let largest = flags.max_file_bytes.or(file.max_file_bytes);
        let free = flags.min_free_bytes.or(file.min_free_bytes);
        FetchLimits {
            max_file_bytes: largest
                .and_then(SomeBytes::non_zero)
                .unwrap_or(default.max_file_bytes),
            min_free_bytes: free.map_or(default.min_free_bytes, Bytes::get),
        }
    }

    fn polling_timeouts(&self, flags: &TakeFlags) -> Timeouts {
        let (file, common, default) = (&self.file, self.timeouts(), SlowPeer::default());
        let wait = flags.poll_wait_secs.or(file.poll_wait_secs);
        let bytes = flags.slow_bytes.or(file.slow_bytes);
        let window = flags.slow_secs.or(file.slow_secs);
        Timeouts {
            wait: wait.map_or(common.wait, WaitSeconds::seconds),
            slow: SlowPeer {
                min_bytes: bytes.map_or(default.min_bytes, Bytes::get),
                window: window.map_or(default.window, Seconds::seconds),
            },
            ..common
        }
    }

    /// What is run for each event, if anything is.
    pub(crate) fn exec(&self, flags: &ExecFlags) -> Option<ExecSettings> {
        let file = &self.file;
        let timeout = flags.exec_timeout_secs.or(file.exec_timeout_secs);
        let grace = flags.exec_grace_secs.or(file.exec_grace_secs);
        let command = flags.exec.as_ref();
        let command = command.or(file.exec.as_ref().map(|exec| &exec.0))?;
        Some(ExecSettings {
            command: command.clone(),
            timeout: timeout.map_or(DEFAULT_EXEC_TIMEOUT, Seconds::seconds),
            grace: grace.map_or(DEFAULT_EXEC_GRACE, Seconds::seconds),
        })
    }
}

/// The path of a folder that stays the same whatever the working directory is.
pub(crate) fn absolute(name: &'static str, folder: PathBuf) -> Result<PathBuf, SettingsError> {
    path::absolute(folder).map_err(|source| SettingsError::Folder { name, source })
}

/// Where the XDG Base Directory Specification has the state; a path that is not absolute counts as
/// none there.
fn default_state_folder() -> Option<PathBuf> {
    let absolute = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    Some(state?.join(STATE_NAME))
}

#[cfg(test)]
mod tests;
