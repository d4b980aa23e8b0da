//! Being told to stop.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

/// How soon after the first a second signal still belongs to it: what signals a process and then its
/// group means one wish, not two.
const ONE_WISH: Duration = Duration::from_millis(300);

/// The signals that stop a program: SIGTERM, and SIGINT, which is Ctrl-C.
#[derive(Debug)]
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Watches for them, from now on, in place of what they do by themselves. Must be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// When the system does not let signals be watched.
    pub fn watch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one, and answers its name. Dropping the future loses none.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Waits for one that is a wish of its own after the first: not within 0.3 seconds of it.
    pub async fn next_wish(&mut self) -> &'static str {
        let repeated = async {
            loop {
                self.next().await;
            }
        };
        timeout(ONE_WISH, repeated).await.ok();
        self.next().await
    }
}
