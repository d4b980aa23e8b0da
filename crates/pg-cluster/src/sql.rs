//! Statements through `psql`, for what must work without a driver: making and dropping databases.

use std::process::{Command, Stdio};

use crate::error::io;
use crate::{ClusterError, Programs};

/// Runs one statement in the database at `url` and answers what it printed.
pub(crate) fn run(programs: &Programs, url: &str, statement: &str) -> Result<String, ClusterError> {
    let psql = programs.path("psql");
    let output = Command::new(&psql)
        .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
        .args(["--set", "ON_ERROR_STOP=1", "--command", statement, url])
        .stdin(Stdio::null())
        .output()
        .map_err(io("run", psql))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(ClusterError::Sql {
            status: output.status,
            output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }
}

/// The URL with another database in it.
pub(crate) fn with_database(url: &str, database: &str) -> String {
    let (address, query) = match url.split_once('?') {
        Some((address, query)) => (address, format!("?{query}")),
        None => (url, String::new()),
    };
    let authority_at = address.find("://").map_or(0, |at| at + 3);
    let (scheme, rest) = address.split_at(authority_at);
    let authority = rest.split('/').next().unwrap_or(rest);
    format!("{scheme}{authority}/{database}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_of_a_url_is_replaced_and_nothing_else() {
        for (url, expected) in [
            ("postgres://u@h:1/postgres", "postgres://u@h:1/x"),
            ("postgres://u@h:1", "postgres://u@h:1/x"),
            (
                "postgres://u:p@h/a?sslmode=require",
                "postgres://u:p@h/x?sslmode=require",
            ),
        ] {
            assert_eq!(with_database(url, "x"), expected);
        }
    }
}
