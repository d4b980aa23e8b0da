//! Round trips, counted where they pass.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use crate::error::BenchError;

const BUFFER_BYTES: usize = 64 * 1024;

/// Stands between a server and its database, and counts how often, on any connection, the server
/// has something to say after the database has spoken: each is a wait for the network.
#[derive(Debug)]
pub(crate) struct CountingProxy {
    port: u16,
    turns: Arc<AtomicU64>,
    listening: AbortHandle,
}

impl CountingProxy {
    /// Listens on a free port for connections to `database`.
    pub(crate) async fn before(database: SocketAddr) -> Result<Self, BenchError> {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .map_err(BenchError::Setup)?;
        let port = listener.local_addr().map_err(BenchError::Setup)?.port();
        let turns = Arc::default();
        let listening = tokio::spawn(listen(listener, database, Arc::clone(&turns)));
        Ok(Self {
            port,
            turns,
            listening: listening.abort_handle(),
        })
    }

    /// Where it listens on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// How many round trips were begun so far, on all connections.
    pub(crate) fn round_trips(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }
}

impl Drop for CountingProxy {
    fn drop(&mut self) {
        // The connections are in a set of that task, and end with it.
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, database: SocketAddr, turns: Arc<AtomicU64>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(carry(client, database, Arc::clone(&turns)));
    }
}

/// Carries bytes both ways until either side is done; the other side then sees the same.
async fn carry(client: TcpStream, database: SocketAddr, turns: Arc<AtomicU64>) -> io::Result<()> {
    let server = TcpStream::connect(database).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let client_is_next = AtomicBool::new(true);
    let asked = || {
        if client_is_next.swap(false, Ordering::Relaxed) {
            turns.fetch_add(1, Ordering::Relaxed);
        }
    };
    let answered = || client_is_next.store(true, Ordering::Relaxed);
    tokio::try_join!(
        copy(from_client, to_server, asked),
        copy(from_server, to_client, answered)
    )?;
    Ok(())
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    passed: impl Fn(),
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        passed();
        to.write_all(&buffer[..read]).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo(listener: TcpListener) {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut byte = [0];
        while stream.read_exact(&mut byte).await.is_ok() {
            stream.write_all(&byte).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_question_and_its_answer_are_one_round_trip() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let database = listener.local_addr().unwrap();
        tokio::spawn(echo(listener));
        let proxy = CountingProxy::before(database).await.unwrap();
        let mut client = TcpStream::connect(("127.0.0.1", proxy.port()))
            .await
            .unwrap();
        for question in 0..3_u8 {
            client.write_all(&[question]).await.unwrap();
            assert_eq!(client.read_u8().await.unwrap(), question);
        }
        assert_eq!(proxy.round_trips(), 3);
    }
}
