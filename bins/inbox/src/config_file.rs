//! The settings file: TOML, in which every key is a setting that is known.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use inbox_client::PlatformUrl;
use pending_uploads_core::WorkspaceId;
use serde::Deserialize;

use command_line::{LogFilter, Secret};

use crate::values::{Bytes, Parallel, Parsed, Seconds, ShellCommand, SomeBytes, WaitSeconds};

/// What the file says. Each key is the option of the same name, with `_` for `-`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ConfigFile {
    pub(crate) platform_url: Option<Parsed<PlatformUrl>>,
    pub(crate) workspace_id: Option<Parsed<WorkspaceId>>,
    pub(crate) token: Option<Secret>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) connect_timeout_secs: Option<Seconds>,
    pub(crate) answer_timeout_secs: Option<Seconds>,
    pub(crate) idle_timeout_secs: Option<Seconds>,
    pub(crate) log: Option<Parsed<LogFilter>>,
    pub(crate) dir: Option<PathBuf>,
    pub(crate) parallel_fetches: Option<Parallel>,
    pub(crate) max_file_bytes: Option<SomeBytes>,
    pub(crate) min_free_bytes: Option<Bytes>,
    pub(crate) poll_wait_secs: Option<WaitSeconds>,
    pub(crate) reconcile_secs: Option<Seconds>,
    pub(crate) slow_bytes: Option<Bytes>,
    pub(crate) slow_secs: Option<Seconds>,
    pub(crate) longest_retry_secs: Option<Seconds>,
    pub(crate) exec: Option<Parsed<ShellCommand>>,
    pub(crate) exec_timeout_secs: Option<Seconds>,
    pub(crate) exec_grace_secs: Option<Seconds>,
    pub(crate) agent_name: Option<String>,
    pub(crate) admin_token: Option<Secret>,
    /// One table for each workspace.
    #[serde(rename = "workspace")]
    pub(crate) workspaces: Vec<WorkspaceTable>,
}

/// What the file says of one workspace.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkspaceTable {
    // Said in so many words, so that a missing one is told as such.
    #[serde(deserialize_with = "Parsed::deserialize")]
    pub(crate) id: Parsed<WorkspaceId>,
    pub(crate) platform_url: Option<Parsed<PlatformUrl>>,
    pub(crate) token: Option<Secret>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) dir: Option<PathBuf>,
}

/// The file cannot be used. Nothing of what stands in it is repeated but the names of its keys.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigFileError {
    /// It cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no TOML, has a key that is no setting, or a value that is none.
    #[error("{}, line {line}: {problem}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
}

impl ConfigFile {
    /// Reads the file at `path`.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigFileError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigFileError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        toml::from_str(&text).map_err(|error| wrong(path, &text, &error))
    }
}

/// The line of an error and its message, without the text around it: that may hold a token.
fn wrong(path: &Path, text: &str, error: &toml::de::Error) -> ConfigFileError {
    let start = error.span().map_or(0, |span| span.start);
    let before = text.as_bytes().iter().take(start);
    let message = error.message();
    // An unknown key is followed by all that are known.
    let problem = match message.split_once(", expected one of") {
        Some((unknown, _)) => unknown,
        None => message,
    };
    ConfigFileError::Wrong {
        path: path.to_owned(),
        line: before.filter(|byte| **byte == b'\n').count() + 1,
        problem: problem.replace('\n', " "),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tempfile::NamedTempFile;

    use super::*;

    fn read(text: &str) -> Result<ConfigFile, String> {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let path = file.path().display().to_string();
        ConfigFile::read(file.path()).map_err(|error| error.to_string().replace(&path, "FILE"))
    }

    #[test]
    fn each_workspace_has_a_table() {
        let id = WorkspaceId::generate();
        let file = read(&format!(
            "parallel_fetches = 2\n[[workspace]]\nid = \"{id}\"\ndir = \"/srv/a\"\n\
             [[workspace]]\nid = \"{}\"\ntoken_file = \"/run/token\"\n",
            WorkspaceId::generate()
        ));
        let file = file.unwrap();
        assert_eq!(file.parallel_fetches.unwrap().get(), 2);
        assert_eq!(file.workspaces.len(), 2);
        assert_eq!(file.workspaces[0].id.0, id);
        assert_eq!(file.workspaces[0].dir.as_deref(), Some(Path::new("/srv/a")));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, sentence) in [
            (
                "\nplatform = \"x\"\n",
                "FILE, line 2: unknown field `platform`",
            ),
            (
                "[[workspace]]\nid = \"11111111-1111-4111-8111-111111111111\"\nexec = \"x\"\n",
                "FILE, line 3: unknown field `exec`",
            ),
            ("[[workspace]]\n", "FILE, line 1: missing field `id`"),
            ("workspace_id = \"x\"\n", "FILE, line 1: not a UUID"),
            (
                "\n\nparallel_fetches = 65\n",
                "FILE, line 3: a whole number from 1 to 64 is expected",
            ),
            (
                "parallel_fetches = \"2\"\n",
                "FILE, line 1: a whole number from 1 to 64 is expected",
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), sentence);
        }
    }

    #[test]
    fn a_secret_in_a_line_that_is_wrong_is_not_repeated() {
        for text in [
            "token = 7777777\n",
            "token = \"7777777\n",
            "token = 7777777x\n",
            "token = [\"7777777\"]\n",
            "admin_token = { a = \"7777777\" }\n",
            "token = \"7777777\"\ntoken = \"7777777\"\n",
            "platform_url = \"http://u:7777777@h\"\n",
            "[[workspace]]\ntoken = 7777777\n",
        ] {
            let sentence = read(text).unwrap_err();
            assert!(!sentence.contains("7777"), "{sentence}");
            assert!(sentence.starts_with("FILE, line "), "{sentence}");
        }
    }
}
