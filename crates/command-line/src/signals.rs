//! Being told to stop.

use std::fs;
use std::future::pending;
use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

/// How soon after the first a second signal still belongs to it: what signals a process and then its
/// group means one wish, not two.
const ONE_WISH: Duration = Duration::from_millis(300);

/// The signals that stop a program: SIGTERM; SIGINT, which is Ctrl-C; and SIGHUP, which comes when the
/// terminal goes away.
///
/// SIGHUP stays as it is where it was ignored at the start, as `nohup` has it, and where that cannot be
/// found out: without Linux's `/proc`.
#[derive(Debug)]
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Option<Signal>,
}

impl StopSignals {
    /// Watches for them, from now on, in place of what they do by themselves. Must be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// When the system does not let signals be watched.
    pub fn watch() -> io::Result<Self> {
        Ok(Self {
            hangup: match ignored_signals() {
                Some(ignored) if !is_in(ignored, SignalKind::hangup()) => {
                    Some(signal(SignalKind::hangup())?)
                }
                _ => None,
            },
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one, and answers its name. Dropping the future loses none.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            () = next_of(&mut self.hangup) => "SIGHUP",
        }
    }

    /// Waits for one that is a wish of its own after the first: not within 0.3 seconds of it, and no
    /// SIGHUP. Who closes the terminal after Ctrl-C has not asked again.
    pub async fn next_wish(&mut self) -> &'static str {
        let repeated = async {
            loop {
                self.next().await;
            }
        };
        timeout(ONE_WISH, repeated).await.ok();
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Waits for ever where the signal is not watched.
async fn next_of(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => pending().await,
    }
}

/// The signals that this process ignores, a bit each, from that of signal 1 on.
fn ignored_signals() -> Option<u64> {
    parse_ignored(&fs::read_to_string("/proc/self/status").ok()?)
}

fn parse_ignored(status: &str) -> Option<u64> {
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

fn is_in(mask: u64, signal: SignalKind) -> bool {
    let bit = u32::try_from(signal.as_raw_value() - 1).ok();
    let bit = bit.and_then(|bit| 1_u64.checked_shl(bit));
    bit.is_some_and(|bit| mask & bit != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ignored_signals_are_read() {
        let status = "Name:\tinbox\nSigBlk:\t0000000000000002\nSigIgn:\t0000000000001001\n";
        let ignored = parse_ignored(status).unwrap();
        assert!(is_in(ignored, SignalKind::hangup()));
        assert!(is_in(ignored, SignalKind::pipe()));
        assert!(!is_in(ignored, SignalKind::terminate()));
        assert_eq!(parse_ignored("Name:\tinbox\n"), None);
        assert_eq!(parse_ignored("SigIgn:\tnone\n"), None);
    }
}
