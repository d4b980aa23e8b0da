//! A server behind a proxy: it sends back what it gets, and notes it.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What came over one connection, and how it ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard {
    pub(crate) bytes: Vec<u8>,
    pub(crate) end: Option<HowItEnded>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HowItEnded {
    /// With a FIN.
    Ended,
    /// With an error.
    Broken,
}

/// Sends everything back.
#[derive(Debug)]
pub(crate) struct Echo {
    address: String,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Echo {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heard: Arc<Mutex<Vec<Heard>>> = Arc::default();
        let all = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = {
                    let mut all = all.lock().unwrap();
                    all.push(Heard::default());
                    all.len() - 1
                };
                tokio::spawn(echo(stream, number, Arc::clone(&all)));
            }
        });
        Self { address, heard }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// What each connection has brought so far.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }
}

async fn echo(mut stream: TcpStream, number: usize, all: Arc<Mutex<Vec<Heard>>>) {
    let mut buffer = vec![0; 16 * 1024];
    let end = loop {
        match stream.read(&mut buffer).await {
            Ok(0) => break HowItEnded::Ended,
            Err(_) => break HowItEnded::Broken,
            Ok(count) => {
                let piece = &buffer[..count];
                all.lock().unwrap()[number].bytes.extend_from_slice(piece);
                if stream.write_all(piece).await.is_err() {
                    break HowItEnded::Broken;
                }
            }
        }
    };
    all.lock().unwrap()[number].end = Some(end);
}
