//! PostgreSQL's server programs: found, or installed.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use pg_cluster::{ClusterError, Programs};

use crate::error::TaskError;

const APT_GET: &str = "/usr/bin/apt-get";
/// Where Debian asks whether a new server gets a cluster of the machine's own.
const CREATE_CLUSTER: &str = "/etc/postgresql-common/createcluster.conf";

/// Makes sure that the programs are there: finds them, or, as root on Debian, installs them.
pub(crate) fn ensure_programs() -> Result<(), TaskError> {
    match Programs::find() {
        Ok(_) => Ok(()),
        Err(missing @ ClusterError::ProgramsNotFound { .. }) => {
            if !can_install() {
                return Err(missing.into());
            }
            install()?;
            Programs::find()?;
            Ok(())
        }
        Err(other) => Err(other.into()),
    }
}

fn can_install() -> bool {
    let owner = Path::new("/proc/self").metadata().map(|own| own.uid());
    owner.is_ok_and(|uid| uid == 0) && Path::new(APT_GET).is_file()
}

/// Installs the server, but lets Debian start no cluster: the tests bring their own.
fn install() -> Result<(), TaskError> {
    apt_get(&["update"])?;
    apt_get(&[
        "install",
        "--yes",
        "--no-install-recommends",
        "postgresql-common",
    ])?;
    let written = File::options()
        .append(true)
        .create(true)
        .open(CREATE_CLUSTER)
        .and_then(|mut file| file.write_all(b"create_main_cluster = false\n"));
    written.map_err(|source| TaskError::Write {
        path: CREATE_CLUSTER.into(),
        source,
    })?;
    apt_get(&["install", "--yes", "--no-install-recommends", "postgresql"])
}

fn apt_get(arguments: &[&str]) -> Result<(), TaskError> {
    let command = format!("apt-get {}", arguments.join(" "));
    announce(&command);
    let status = Command::new(APT_GET)
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status()
        .map_err(|source| TaskError::Run {
            program: APT_GET.to_owned(),
            source,
        })?;
    if status.success() {
        Ok(())
    } else {
        Err(TaskError::Install { command })
    }
}

#[expect(
    clippy::print_stderr,
    reason = "a task talks to the person at the terminal"
)]
fn announce(command: &str) {
    eprintln!("==> {command}");
}
