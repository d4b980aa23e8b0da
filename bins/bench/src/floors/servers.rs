//! The floors of HTTP: servers that answer on our paths and do little, each in a process of its
//! own, so that its memory and its CPU time are its own as well.
//!
//! None of them checks a token. A registration is answered like ours, so that a load that runs
//! against ours runs against these.

mod answers;
mod drop;
mod files;
mod plain;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Child, Command, Stdio};
use std::thread;

use actix_web::web::{self, ServiceConfig};
use actix_web::{App, HttpServer};
use futures_util::future::{Either, select};
use tokio::sync::oneshot;

use super::{Content, FloorError};
use crate::error::BenchError;

/// The name of the hidden command that becomes one of these.
pub(crate) const COMMAND: &str = "floor-server";

/// A server that is a floor.
#[derive(Debug, Clone, clap::Subcommand)]
pub(crate) enum FloorServer {
    /// Reads a body and drops it, and serves as many bytes from memory: HTTP's own limit. Its files
    /// are not stored; a file's id says how long it is.
    Drop,
    /// Writes each part into a file, without any fsync, and serves it from there: what a plain file
    /// server does.
    Files {
        /// Where to; the folder is there.
        #[arg(long)]
        folder: PathBuf,
    },
    /// Keeps each file whole in memory and in one bytea, one statement at a time, over a pool as it
    /// comes: what is written first.
    Plain {
        /// The URL of a database, in which it makes tables of its own.
        #[arg(long)]
        postgres: String,
    },
}

/// What the handlers of a server share.
#[derive(Debug, Clone)]
enum Routes {
    Drop(Content),
    Files(PathBuf),
    Plain(deadpool_postgres::Pool),
}

impl FloorServer {
    /// Is the server until stdin closes: prints the address that it listens on as its first line,
    /// and serves with as many workers as there are cores.
    pub(crate) fn run(&self) -> Result<(), BenchError> {
        Ok(actix_web::rt::System::new().block_on(self.serve())?)
    }

    async fn serve(&self) -> Result<(), FloorError> {
        let routes = self.routes().await?;
        let app = move || App::new().configure(|config| routes.mount(config));
        let server = HttpServer::new(app)
            .workers(thread::available_parallelism().map_or(1, NonZeroUsize::get))
            .tcp_nodelay(true)
            .bind(("127.0.0.1", 0))?;
        let address = server.addrs().first().copied();
        let address = address.ok_or(FloorError::Missing("an address"))?;
        let serving = server.run();
        writeln!(io::stdout(), "{address}")?;
        let handle = serving.handle();
        match select(serving, pin!(stdin_closed())).await {
            Either::Left((ended, _)) => ended?,
            Either::Right(((), serving)) => {
                let stopped = handle.stop(false);
                futures_util::future::join(stopped, serving).await.1?;
            }
        }
        Ok(())
    }

    async fn routes(&self) -> Result<Routes, FloorError> {
        Ok(match self {
            Self::Drop => Routes::Drop(Content::random()?),
            Self::Files { folder } => Routes::Files(folder.clone()),
            Self::Plain { postgres } => Routes::Plain(plain::open(postgres).await?),
        })
    }

    /// Starts `program`, which is this one, as this server, and answers when it listens.
    pub(crate) fn launch(&self, program: &Path) -> Result<RunningServer, BenchError> {
        let mut command = Command::new(program);
        command.arg(COMMAND);
        match self {
            Self::Drop => command.arg("drop"),
            Self::Files { folder } => command.args(["files", "--folder"]).arg(folder),
            Self::Plain { postgres } => command.args(["plain", "--postgres", postgres]),
        };
        Ok(RunningServer::of(&mut command)?)
    }
}

impl Routes {
    fn mount(&self, config: &mut ServiceConfig) {
        config
            .route("/registry/register", web::post().to(answers::registered))
            .route("/healthz", web::get().to(answers::well))
            .route("/readyz", web::get().to(answers::well));
        match self {
            Self::Drop(content) => drop::mount(config, content.clone()),
            Self::Files(folder) => files::mount(config, folder.clone()),
            Self::Plain(pool) => plain::mount(config, pool.clone()),
        }
    }
}

/// Answers when there is nobody on the other end of stdin any more.
async fn stdin_closed() {
    let (tell, told) = oneshot::channel::<()>();
    thread::spawn(move || {
        // An end and an error are the same to it, and so are what is written before.
        drop(io::copy(&mut io::stdin().lock(), &mut io::sink()));
        drop(tell);
    });
    // Nothing is ever sent: what counts is that the other half is gone.
    drop(told.await);
}

/// A floor's server in a process of its own, which ends with this value.
#[derive(Debug)]
pub(crate) struct RunningServer {
    child: Child,
    address: SocketAddr,
}

impl RunningServer {
    fn of(command: &mut Command) -> Result<Self, FloorError> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout.take(1024)).read_line(&mut line)?;
        }
        if let Ok(address) = line.trim().parse() {
            return Ok(Self { child, address });
        }
        end(&mut child)?;
        Err(FloorError::NoAddress(line))
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        // What cannot be waited for is gone already.
        drop(end(&mut self.child));
    }
}

fn end(child: &mut Child) -> io::Result<()> {
    drop(child.stdin.take());
    child.wait().map(drop)
}
