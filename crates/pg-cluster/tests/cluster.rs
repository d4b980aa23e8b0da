//! Clusters live, die and come back.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use pg_cluster::{Cluster, ClusterError, ClusterOptions, Durability, Programs, Tls};
use tempfile::TempDir;

#[test]
fn a_killed_cluster_comes_back_with_what_it_had_committed() {
    let options = ClusterOptions::default().durability(Durability::Fsync);
    let mut cluster = Cluster::start(options).unwrap();
    let port = cluster.port();
    cluster
        .sql("postgres", "CREATE TABLE t AS SELECT 7 AS n")
        .unwrap();

    cluster.kill().unwrap();
    assert_eq!(cluster.pid(), None);
    assert!(matches!(cluster.kill(), Err(ClusterError::NotRunning)));
    cluster.restart().unwrap();

    assert_eq!(cluster.port(), port);
    assert_eq!(cluster.sql("postgres", "SELECT n FROM t").unwrap(), "7");
}

#[test]
fn a_dropped_cluster_leaves_neither_a_process_nor_a_folder() {
    let cluster = Cluster::start(ClusterOptions::default()).unwrap();
    let (port, pid) = (cluster.port(), cluster.pid().unwrap());
    let folder = cluster.log_file().parent().unwrap().to_owned();
    assert!(folder.exists());

    drop(cluster);

    assert!(!folder.exists());
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn databases_are_made_empty_and_dropped() {
    let cluster = Cluster::start(ClusterOptions::default().max_connections(7)).unwrap();
    assert_eq!(
        cluster.sql("postgres", "SHOW max_connections").unwrap(),
        "7"
    );
    let name = cluster.create_database().unwrap();
    assert_ne!(name, cluster.create_database().unwrap());
    assert_eq!(
        cluster.sql(&name, "SELECT current_database()").unwrap(),
        name
    );
    cluster.drop_database(&name).unwrap();
    assert!(matches!(
        cluster.sql(&name, "SELECT 1"),
        Err(ClusterError::Sql { .. })
    ));
}

#[test]
fn a_client_that_trusts_the_authority_speaks_tls_and_one_that_does_not_refuses() {
    let cluster = Cluster::start(ClusterOptions::default().tls(Tls::OwnCertificate)).unwrap();
    let query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let ask = |ca: &Path| {
        let url = format!(
            "{}?sslmode=verify-full&sslrootcert={}",
            cluster.admin_url(),
            ca.display()
        );
        let psql = Programs::find().unwrap().bin_dir().join("psql");
        Command::new(psql)
            .args(["-XAtc", query, &url])
            .output()
            .unwrap()
    };
    let trusting = ask(cluster.ca_file().unwrap());
    assert_eq!(
        String::from_utf8_lossy(&trusting.stdout).trim(),
        "t",
        "{trusting:?}"
    );

    let other = Cluster::start(ClusterOptions::default().tls(Tls::OwnCertificate)).unwrap();
    assert!(!ask(other.ca_file().unwrap()).status.success());
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let options = ClusterOptions::default().setting("no_such_setting", "1");
    let error = Cluster::start(options).unwrap_err();
    assert!(matches!(error, ClusterError::Died { .. }));
    assert!(error.to_string().contains("no_such_setting"), "{error}");
}

#[test]
fn statement_statistics_can_be_loaded() {
    let cluster = Cluster::start(ClusterOptions::default().with_statement_statistics()).unwrap();
    let loaded = cluster
        .sql("postgres", "SHOW shared_preload_libraries")
        .unwrap();
    assert_eq!(loaded, "pg_stat_statements");
    assert!(fs::metadata(cluster.log_file()).unwrap().len() > 0);
}

/// Runs the binary until it has printed where its cluster listens, and answers both. What it leaves
/// goes with `folder`.
fn start_in_a_process_of_its_own(folder: &TempDir) -> (Child, String) {
    let mut process = Command::new(env!("CARGO_BIN_EXE_pg-cluster"))
        .env("TMPDIR", folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(process.stdout.take().unwrap())
        .read_line(&mut url)
        .unwrap();
    let port = url.trim().split([':', '/']).nth(4).unwrap();
    (process, format!("127.0.0.1:{port}"))
}

/// Looks for half a minute whether nobody listens any more.
fn nobody_listens(address: &str) -> bool {
    (0..300).any(|_| {
        let gone = TcpStream::connect(address).is_err();
        if !gone {
            thread::sleep(Duration::from_millis(100));
        }
        gone
    })
}

#[test]
fn a_cluster_does_not_outlive_the_process_that_started_it() {
    // The user that PostgreSQL runs as must be let through.
    let open = fs::Permissions::from_mode(0o755);
    let folder = tempfile::Builder::new()
        .permissions(open)
        .tempdir()
        .unwrap();

    let (mut killed, address) = start_in_a_process_of_its_own(&folder);
    assert!(TcpStream::connect(&address).is_ok());
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(
        nobody_listens(&address),
        "the cluster outlived a killed process"
    );

    let (mut ended, address) = start_in_a_process_of_its_own(&folder);
    drop(ended.stdin.take());
    assert!(ended.wait().unwrap().success());
    assert!(
        nobody_listens(&address),
        "the cluster outlived an ended process"
    );
}
