//! A proxy between clients and a server that does to connections what networks do.

mod carry;
mod course;
mod fault;
mod shared;
mod storm;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use socket2::{Domain, Socket, Type};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use fault::{Direction, Fault, FaultKind, Moment, Plan};
pub use shared::Counts;
pub use storm::{Storm, Weights};

use carry::carry;
use course::End;
use shared::Shared;

/// Connections that nobody has accepted yet.
const BACKLOG: i32 = 1024;

/// A TCP proxy on a free port of 127.0.0.1.
///
/// It runs on a thread of its own, so that a test may block while it works. What happens to
/// connections is a [`Plan`], which can be changed at any time, as can the server behind it. When it
/// is dropped, every connection ends and the port is free.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    commands: Option<UnboundedSender<Command>>,
    thread: Option<JoinHandle<()>>,
    /// Keeps the port while nobody listens on it.
    _reservation: Socket,
}

/// What a test wants to be done, and who waits until it is.
struct Command {
    wish: Wish,
    done: mpsc::Sender<()>,
}

#[derive(Debug, Clone, Copy)]
enum Wish {
    StopListening,
    Listen,
    End(End),
}

impl FaultProxy {
    /// Starts one in front of the server at `upstream` (`127.0.0.1:port`), through which everything
    /// passes.
    pub fn start(upstream: &str) -> Self {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let reservation = bound(any_port).unwrap();
        let address = reservation.local_addr().unwrap().as_socket().unwrap();
        let listener = listen(address).unwrap();
        let shared = Arc::new(Shared::new(upstream.parse().unwrap()));
        let (commands, orders) = unbounded_channel();
        let own = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("fault-proxy".to_owned())
            .spawn(move || run(listener, own, orders))
            .unwrap();
        Self {
            address,
            shared,
            commands: Some(commands),
            thread: Some(thread),
            _reservation: reservation,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as a URL: `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Puts it in front of another server (`127.0.0.1:port`): connections that come from now on go
    /// there. When there is none, they are reset.
    pub fn set_upstream(&self, upstream: &str) {
        self.shared.set_upstream(upstream.parse().unwrap());
    }

    /// Decides what happens from now on, also to connections that are open already, for which
    /// [`Moment`]s and bytes count from their next bytes. What has happened to one stays.
    pub fn set_plan(&self, plan: Plan) {
        self.shared.set_plan(plan);
    }

    /// What it has done so far.
    pub fn counts(&self) -> Counts {
        self.shared.counts().clone()
    }

    /// Cuts every connection that is open: both sides are told that the other one has ended.
    pub fn cut_open(&self) {
        self.command(Wish::End(End::Cut));
    }

    /// Resets every connection that is open.
    pub fn reset_open(&self) {
        self.command(Wish::End(End::Reset));
    }

    /// From now on nobody listens: the machine refuses connections. Those that are open stay.
    pub fn stop_listening(&self) {
        self.command(Wish::StopListening);
    }

    /// Listens again, on the same port.
    pub fn listen_again(&self) {
        self.command(Wish::Listen);
    }

    fn command(&self, wish: Wish) {
        let (done, is_done) = mpsc::channel();
        let commands = self.commands.as_ref().unwrap();
        assert!(
            commands.send(Command { wish, done }).is_ok(),
            "the proxy has died"
        );
        is_done.recv().unwrap();
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.commands = None;
        let ended = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            assert!(!matches!(ended, Some(Err(_))), "the proxy has died");
        }
    }
}

/// A socket on a port that others may be bound to, too.
fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_port(true)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = bound(address)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// The proxy's thread, which ends when nobody can command it any more.
fn run(listener: TcpListener, shared: Arc<Shared>, orders: UnboundedReceiver<Command>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    // All connections are tasks of it, and end with it.
    runtime.block_on(serve(listener, shared, orders));
}

async fn serve(listener: TcpListener, shared: Arc<Shared>, mut orders: UnboundedReceiver<Command>) {
    let address = listener.local_addr().unwrap();
    let into_tokio = |listener| tokio::net::TcpListener::from_std(listener).unwrap();
    let mut listener = Some(into_tokio(listener));
    let (ends, _) = watch::channel(End::Reset);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            order = orders.recv() => {
                let Some(Command { wish, done }) = order else { return };
                match wish {
                    Wish::StopListening => listener = None,
                    Wish::Listen => listener = Some(into_tokio(listen(address).unwrap())),
                    Wish::End(end) => drop(ends.send_replace(end)),
                }
                // Whoever has asked waits for this.
                done.send(()).unwrap();
            }
            client = accept(listener.as_ref()) => {
                connections.spawn(carry(client, Arc::clone(&shared), ends.subscribe()));
            }
            Some(ended) = connections.join_next() => ended.unwrap(),
        }
    }
}

/// The next client; there is none while nobody listens.
async fn accept(listener: Option<&tokio::net::TcpListener>) -> TcpStream {
    match listener {
        Some(listener) => listener.accept().await.unwrap().0,
        None => std::future::pending().await,
    }
}
