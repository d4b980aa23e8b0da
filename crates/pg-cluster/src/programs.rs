//! Where PostgreSQL's programs are.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::ClusterError;

/// Names the folder of the programs, before all other places.
const BIN_DIR_VARIABLE: &str = "PG_BIN_DIR";
/// Where Debian keeps each version's programs.
const DEBIAN_VERSIONS: &str = "/usr/lib/postgresql";
/// What must be in the folder.
const NEEDED: [&str; 3] = ["initdb", "postgres", "psql"];

/// The folder with PostgreSQL's programs: the server's and `psql`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    bin_dir: PathBuf,
}

impl Programs {
    /// Looks in `PG_BIN_DIR` (and nowhere else, if it is set), in each folder of `PATH`, where
    /// `pg_config` says, and in Debian's `/usr/lib/postgresql/*/bin`, newest first.
    ///
    /// # Errors
    /// [`ClusterError::ProgramsNotFound`], whose message says what to install.
    pub fn find() -> Result<Self, ClusterError> {
        let candidates = match env::var_os(BIN_DIR_VARIABLE) {
            Some(dir) => vec![PathBuf::from(dir)],
            None => usual_places(),
        };
        match candidates.iter().find_map(|dir| real_bin_dir(dir)) {
            Some(bin_dir) => Ok(Self { bin_dir }),
            None => Err(ClusterError::ProgramsNotFound {
                looked_in: list(&candidates),
            }),
        }
    }

    /// The folder.
    pub fn bin_dir(&self) -> &Path {
        &self.bin_dir
    }

    /// The path of one of the programs.
    pub(crate) fn path(&self, program: &str) -> PathBuf {
        self.bin_dir.join(program)
    }
}

fn usual_places() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(told_by_pg_config())
        .chain(debian_versions())
        .collect()
}

fn told_by_pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let dir = String::from_utf8(output.stdout).ok()?;
    (!dir.trim().is_empty()).then(|| PathBuf::from(dir.trim()))
}

fn debian_versions() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(DEBIAN_VERSIONS) else {
        return Vec::new();
    };
    let versions: BTreeSet<u32> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    versions
        .iter()
        .rev()
        .map(|version| Path::new(DEBIAN_VERSIONS).join(format!("{version}/bin")))
        .collect()
}

/// The folder in which all programs are, once the link at `dir/postgres` is followed.
fn real_bin_dir(dir: &Path) -> Option<PathBuf> {
    let postgres = dir.join("postgres").canonicalize().ok()?;
    let real = postgres.parent()?;
    NEEDED
        .iter()
        .all(|program| real.join(program).is_file())
        .then(|| real.to_owned())
}

fn list(dirs: &[PathBuf]) -> String {
    let names: Vec<_> = dirs.iter().map(|dir| dir.display().to_string()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_the_server_is_not_taken() {
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(real_bin_dir(empty.path()), None);
    }

    #[test]
    fn a_link_to_the_server_leads_to_the_folder_of_its_programs() {
        let [real, links] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        for program in NEEDED {
            fs::write(real.path().join(program), "").unwrap();
        }
        let target = real.path().join("postgres");
        std::os::unix::fs::symlink(target, links.path().join("postgres")).unwrap();
        assert_eq!(
            real_bin_dir(links.path()),
            Some(real.path().canonicalize().unwrap())
        );
    }
}
