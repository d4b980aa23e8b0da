//! Runs a throw-away cluster, prints its URL, and removes it when its input ends (Ctrl-D).

use std::io::{self, Read, Write};

use pg_cluster::{Cluster, ClusterError, ClusterOptions};

/// Why there is no cluster, or no longer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("cannot talk to the terminal: {0}")]
    Terminal(#[from] io::Error),
}

fn main() -> Result<(), Failure> {
    let cluster = Cluster::start(ClusterOptions::default())?;
    let line = format!("{}\n", cluster.admin_url());
    io::stdout().write_all(line.as_bytes())?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
