//! Starting `postgres` and knowing when it is ready.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::ClusterError;
use crate::error::io as io_error;

/// How long a probe for readiness may take, and how long is waited between two.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
const PROBE_INTERVAL: Duration = Duration::from_millis(20);
/// A minute of probes: recovery after a kill may take its time on a busy disk.
const PROBES: u32 = 3000;
/// How much of the log an error shows.
const LOG_TAIL_BYTES: usize = 4000;

/// A running `postgres`.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) child: Child,
    /// Ends the thread that started the child when it is dropped.
    _keeper: mpsc::Sender<()>,
}

/// Starts the command so that it ends when this process does.
///
/// Linux sends the signal that `setpriv --pdeathsig` asks for when the *thread* that started the
/// child ends, so the child gets a thread that lives as long as the [`Server`].
pub(crate) fn spawn(mut command: Command) -> Result<Server, ClusterError> {
    let (started, child) = mpsc::channel();
    let (keeper, kept) = mpsc::channel::<()>();
    let program = PathBuf::from(command.get_program());
    thread::Builder::new()
        .name("pg-cluster".to_owned())
        .spawn(move || {
            // Neither end is needed any more when the other one is gone.
            drop(started.send(command.spawn()));
            let _ended = kept.recv();
        })
        .map_err(io_error("start a thread for", &program))?;
    let child = child
        .recv()
        .unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
        .map_err(io_error("start", program))?;
    Ok(Server {
        child,
        _keeper: keeper,
    })
}

/// A command that runs `program` in a process group of its own (so that Ctrl-C in a terminal does
/// not reach it), logging to `log`, and ending with this process where `setpriv` is installed.
pub(crate) fn command(program: &Path, log: File) -> Result<Command, ClusterError> {
    let mut command = match find_setpriv() {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "QUIT", "--"]).arg(program);
            command
        }
        None => Command::new(program),
    };
    let copy = log.try_clone().map_err(io_error("log of", program))?;
    command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(copy);
    Ok(command)
}

fn find_setpriv() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|dir| dir.join("setpriv"))
        .find(|file| file.is_file())
}

/// Waits until the server on `port` lets a client in, or has ended.
pub(crate) fn wait_until_ready(
    child: &mut Child,
    port: u16,
    log: &Path,
) -> Result<(), ClusterError> {
    for _ in 0..PROBES {
        if let Some(status) = child.try_wait().map_err(io_error("wait for", log))? {
            let log = tail(log);
            return Err(ClusterError::Died { status, log });
        }
        if lets_in(port).unwrap_or(false) {
            return Ok(());
        }
        thread::sleep(PROBE_INTERVAL);
    }
    Err(ClusterError::NotReady { log: tail(log) })
}

/// Whether the server answers a start-up message (PostgreSQL's protocol, "Start-up") with an
/// authentication message rather than with the error that it is still starting.
fn lets_in(port: u16) -> io::Result<bool> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, PROBE_TIMEOUT)?;
    stream.set_read_timeout(Some(PROBE_TIMEOUT))?;
    stream.write_all(STARTUP_MESSAGE)?;
    let mut kind = [0];
    stream.read_exact(&mut kind)?;
    // Say goodbye, lest the log tells of a lost client.
    stream.write_all(b"X\0\0\0\x04")?;
    Ok(kind == *b"R")
}

/// The message (protocol 3.0) that asks for the database `postgres` as the user `postgres`. Its
/// first four bytes are its length, 41.
const STARTUP_MESSAGE: &[u8; 41] = b"\0\0\0\x29\0\x03\0\0user\0postgres\0database\0postgres\0\0";

/// The end of a log.
pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let from = text.len().saturating_sub(LOG_TAIL_BYTES);
    String::from_utf8_lossy(&text[from..]).into_owned()
}
