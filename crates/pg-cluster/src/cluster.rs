//! A cluster of one's own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::error::io;
use crate::launch::{self, Server};
use crate::port::free_port;
use crate::test_database::unique_name;
use crate::tls::TlsFiles;
use crate::user::RunAs;
use crate::{ClusterError, ClusterOptions, Durability, Programs, Tls, sql};

/// How often a first start is tried, should somebody else take the port in between.
const START_TRIES: u32 = 5;
/// How often a restart is tried, with a pause in between: the backends of a killed server need a
/// moment to notice it, and hold its shared memory until then.
const RESTART_TRIES: u32 = 100;
const RESTART_PAUSE: Duration = Duration::from_millis(100);
/// How often the end of a server that was told to stop is looked for, and how long in between.
const STOP_CHECKS: u32 = 1500;
const STOP_PAUSE: Duration = Duration::from_millis(20);

/// A PostgreSQL cluster of one's own, in a temporary folder, on a free port of 127.0.0.1, that
/// trusts everybody who reaches that port. Dropping it stops it at once and removes the folder.
#[derive(Debug)]
pub struct Cluster {
    programs: Programs,
    options: ClusterOptions,
    user: RunAs,
    tls: Option<TlsFiles>,
    port: u16,
    server: Option<Server>,
    // Last, so that the folder outlives the server.
    folder: TempDir,
}

impl Cluster {
    /// Makes a cluster and starts it; it accepts connections when this answers.
    ///
    /// # Errors
    /// [`ClusterError`]: the programs or a user to run them as are missing, or a step failed.
    pub fn start(options: ClusterOptions) -> Result<Self, ClusterError> {
        let programs = Programs::find()?;
        let user = RunAs::unprivileged()?;
        let folder = tempfile::Builder::new()
            .prefix("pg-cluster-")
            .tempdir()
            .map_err(io("make a folder in", std::env::temp_dir()))?;
        user.own(folder.path())?;
        let tls = match options.tls {
            Tls::Off => None,
            Tls::OwnCertificate => Some(TlsFiles::make(folder.path(), user)?),
        };
        let mut cluster = Self {
            programs,
            options,
            user,
            tls,
            port: 0,
            server: None,
            folder,
        };
        cluster.initdb()?;
        cluster.first_launch()?;
        Ok(cluster)
    }

    /// The URL of a database in the cluster, for its superuser.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The same by way of the cluster's socket in the file system, which costs less than one of the
    /// network's. Only drivers that take a percent-encoded folder for a host understand it: `libpq`
    /// and `tokio-postgres` do.
    pub fn socket_url(&self, database: &str) -> String {
        let folder = self.folder.path().display().to_string();
        let host = utf8_percent_encode(&folder, NON_ALPHANUMERIC);
        format!("postgres://postgres@{host}:{}/{database}", self.port)
    }

    /// The URL of the database `postgres`.
    pub fn admin_url(&self) -> String {
        self.url("postgres")
    }

    /// The port that it listens on; the same for the cluster's whole life.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of the running server.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(|server| server.child.id())
    }

    /// The authority's certificate (PEM) of a cluster that offers TLS.
    pub fn ca_file(&self) -> Option<&Path> {
        self.tls.as_ref().map(|files| files.ca.as_path())
    }

    /// The server's log.
    pub fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Runs one statement in a database as its superuser, and answers what `psql` printed: a line
    /// a row, `|` between columns.
    ///
    /// # Errors
    /// [`ClusterError::Sql`] with what the server said.
    pub fn sql(&self, database: &str, statement: &str) -> Result<String, ClusterError> {
        sql::run(&self.programs, &self.url(database), statement)
    }

    /// Makes an empty database of a name that no other one has, and answers the name.
    ///
    /// # Errors
    /// [`ClusterError::Sql`] with what the server said.
    pub fn create_database(&self) -> Result<String, ClusterError> {
        let name = unique_name("db");
        self.sql("postgres", &format!("CREATE DATABASE {name}"))?;
        Ok(name)
    }

    /// Drops a database, whoever is connected to it.
    ///
    /// # Errors
    /// [`ClusterError::Sql`] with what the server said.
    pub fn drop_database(&self, name: &str) -> Result<(), ClusterError> {
        let statement = format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)");
        self.sql("postgres", &statement).map(drop)
    }

    /// Kills the server with SIGKILL, as a crash would. Its backends notice it by themselves, a
    /// moment later.
    ///
    /// # Errors
    /// [`ClusterError::NotRunning`], [`ClusterError::Io`].
    pub fn kill(&mut self) -> Result<(), ClusterError> {
        self.end(Signal::KILL).map(drop)
    }

    /// Stops the server as `pg_ctl stop -m fast` does: clients are disconnected, what they had not
    /// committed is rolled back, and everything is written.
    ///
    /// # Errors
    /// [`ClusterError::NotRunning`], [`ClusterError::Io`].
    pub fn stop(&mut self) -> Result<(), ClusterError> {
        self.end(Signal::INT).map(drop)
    }

    /// Starts a killed or stopped server on the same data and the same port, and stops it first if
    /// it runs.
    ///
    /// # Errors
    /// [`ClusterError::Died`] when it does not come up within some seconds, and as
    /// [`start`](Self::start).
    pub fn restart(&mut self) -> Result<(), ClusterError> {
        if self.server.is_some() {
            self.stop()?;
        }
        let mut tries = 0;
        loop {
            tries += 1;
            match self.launch() {
                Err(ClusterError::Died { .. }) if tries < RESTART_TRIES => {
                    thread::sleep(RESTART_PAUSE);
                }
                other => return other,
            }
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn initdb(&self) -> Result<(), ClusterError> {
        let initdb = self.programs.path("initdb");
        let mut command = Command::new(&initdb);
        command
            .args(["--auth=trust", "--username=postgres", "--no-sync"])
            .args(["--encoding=UTF8", "--locale=C", "--pgdata"])
            .arg(self.data())
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        self.user.apply(&mut command);
        let output = command.output().map_err(io("run", initdb))?;
        if output.status.success() {
            Ok(())
        } else {
            Err(ClusterError::Initdb {
                status: output.status,
                output: String::from_utf8_lossy(&output.stderr).into_owned(),
            })
        }
    }

    fn first_launch(&mut self) -> Result<(), ClusterError> {
        let mut tries = 0;
        loop {
            tries += 1;
            self.port = free_port()?;
            match self.launch() {
                Err(ClusterError::Died { log, .. })
                    if tries < START_TRIES && log.contains("could not bind") => {}
                other => return other,
            }
        }
    }

    fn launch(&mut self) -> Result<(), ClusterError> {
        let path = self.log_file();
        let log = File::options().create(true).append(true).open(&path);
        let log = log.map_err(io("open", &path))?;
        let mut command = launch::command(&self.programs.path("postgres"), log)?;
        command
            .arg("-D")
            .arg(self.data())
            .current_dir(self.folder.path());
        for (name, value) in self.settings() {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        self.user.apply(&mut command);
        let mut server = launch::spawn(command)?;
        let ready = launch::wait_until_ready(&mut server.child, self.port, &path);
        if ready.is_err() {
            // A server that has ended already cannot be killed, and need not be.
            drop(server.child.kill());
            drop(server.child.wait());
        } else {
            self.server = Some(server);
        }
        ready
    }

    fn settings(&self) -> Vec<(String, String)> {
        let folder = self.folder.path().display().to_string();
        let mut settings = vec![
            ("listen_addresses", "127.0.0.1".to_owned()),
            ("port", self.port.to_string()),
            ("unix_socket_directories", folder),
            ("max_connections", self.options.max_connections.to_string()),
            ("log_line_prefix", "%m [%p] %d ".to_owned()),
            ("timezone", "UTC".to_owned()),
        ];
        if self.options.durability == Durability::NoFsync {
            settings.push(("fsync", "off".to_owned()));
            settings.push(("full_page_writes", "off".to_owned()));
        }
        if let Some(tls) = &self.tls {
            settings.push(("ssl", "on".to_owned()));
            settings.push(("ssl_cert_file", tls.certificate.display().to_string()));
            settings.push(("ssl_key_file", tls.key.display().to_string()));
        }
        settings
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .chain(self.options.settings.iter().cloned())
            .collect()
    }

    fn end(&mut self, signal: Signal) -> Result<ExitStatus, ClusterError> {
        let server = self.server.as_mut().ok_or(ClusterError::NotRunning)?;
        let status = end(&mut server.child, signal).map_err(io("stop", "postgres"))?;
        self.server = None;
        Ok(status)
    }
}

/// Signals the child and waits for its end; one that does not heed the signal is killed.
fn end(child: &mut Child, signal: Signal) -> std::io::Result<ExitStatus> {
    if let Some(status) = child.try_wait()? {
        return Ok(status);
    }
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        kill_process(pid, signal)?;
    }
    for _ in 0..STOP_CHECKS {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        thread::sleep(STOP_PAUSE);
    }
    child.kill()?;
    child.wait()
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // What cannot be stopped has ended already. The folder goes, so nothing need be written.
        drop(self.end(Signal::QUIT));
        // A killed server's backends may still write into the folder; TempDir tries only once.
        let folder = self.folder.path();
        for _ in 0..RESTART_TRIES {
            if fs::remove_dir_all(folder).is_ok() || !folder.exists() {
                break;
            }
            thread::sleep(STOP_PAUSE);
        }
    }
}
