//! As whom PostgreSQL runs.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::ClusterError;
use crate::error::io;

const PASSWD: &str = "/etc/passwd";
/// Whom root's clusters run as: the first of these that exists.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// As whom PostgreSQL's programs run and own their files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunAs {
    /// As whoever runs this process.
    Ourselves,
    /// As another, because this process is root and PostgreSQL refuses root.
    Other { uid: u32, gid: u32 },
}

impl RunAs {
    /// Ourselves, unless that is root.
    pub(crate) fn unprivileged() -> Result<Self, ClusterError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Ourselves);
        }
        let passwd = fs::read_to_string(PASSWD).map_err(io("read", PASSWD))?;
        UNPRIVILEGED
            .iter()
            .find_map(|name| find_user(&passwd, name))
            .ok_or(ClusterError::NoUnprivilegedUser)
    }

    /// Hands the file or folder over.
    pub(crate) fn own(self, path: &Path) -> Result<(), ClusterError> {
        match self {
            Self::Ourselves => Ok(()),
            Self::Other { uid, gid } => {
                chown(path, Some(uid), Some(gid)).map_err(io("hand over", path))
            }
        }
    }

    /// Lets the command run as this user.
    pub(crate) fn apply(self, command: &mut Command) {
        if let Self::Other { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
    }
}

/// Finds a user in the text of `/etc/passwd` (`name:password:uid:gid:…`).
fn find_user(passwd: &str, name: &str) -> Option<RunAs> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(RunAs::Other { uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_the_whole_name() {
        let passwd = "root:x:0:0::/root:/bin/sh\npostgres2:x:7:8::/:/bin/sh\npostgres:x:101:104:,,,:/:/bin/sh\n";
        let expected = RunAs::Other { uid: 101, gid: 104 };
        assert_eq!(find_user(passwd, "postgres"), Some(expected));
        assert_eq!(find_user(passwd, "nobody"), None);
    }
}
