//! Being told to stop.

use std::io;
use std::process;
use std::time::Duration;

use log::{info, warn};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::FAILED;

/// How soon after the first a second signal still belongs to it: what signals a process and then its
/// group means one wish, not two.
const ONE_WISH: Duration = Duration::from_millis(300);

/// The signals that stop: SIGTERM, and SIGINT, which is Ctrl-C.
#[derive(Debug)]
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Watches for them, from now on, in place of what they do by themselves.
    pub(crate) fn watch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one, and answers its name. Dropping the future loses none.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Waits for what is a wish of its own after a first signal.
    pub(crate) async fn next_wish(&mut self) -> &'static str {
        let repeated = async {
            loop {
                self.next().await;
            }
        };
        timeout(ONE_WISH, repeated).await.ok();
        self.next().await
    }
}

/// Cancels what it answers when the process is told to stop, and ends the process when it is told so
/// again.
pub(crate) fn stop_when_told() -> io::Result<CancellationToken> {
    let mut signals = StopSignals::watch()?;
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        let signal = signals.next().await;
        info!(signal = signal; "stopping");
        told.cancel();
        let signal = signals.next_wish().await;
        warn!(signal = signal; "stopped at once");
        process::exit(FAILED.into());
    });
    Ok(stop)
}
