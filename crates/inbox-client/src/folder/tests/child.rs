//! Tests of which a part runs in a process of its own: the test runs itself again, alone.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const FOLDER: &str = "INBOX_TEST_FOLDER";
const ARGUMENT: &str = "INBOX_TEST_ARGUMENT";

/// What the other process is to do; none in the process that the tests began in.
pub(crate) fn task() -> Option<(PathBuf, String)> {
    let folder = env::var_os(FOLDER)?;
    Some((folder.into(), env::var(ARGUMENT).unwrap()))
}

/// Runs one test, named by its whole path, in a process of its own, after a line of shell; answers when
/// that has ended, however it did.
pub(crate) fn run(test: &str, shell: &str, folder: &Path, argument: &str) -> Output {
    let test = test.strip_prefix("inbox_client::").unwrap();
    Command::new("sh")
        .arg("-c")
        .arg(format!("{shell}; exec \"$0\" --exact \"$1\" --nocapture"))
        .arg(env::current_exe().unwrap())
        .arg(test)
        .env(FOLDER, folder)
        .env(ARGUMENT, argument)
        .output()
        .unwrap()
}

/// As [`run`], and fails when the test in that process failed, or did not run.
pub(crate) fn run_well(test: &str, shell: &str, folder: &Path, argument: &str) {
    let output = run(test, shell, folder, argument);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{output:?}");
    assert!(said.contains("1 passed"), "{said}");
}
