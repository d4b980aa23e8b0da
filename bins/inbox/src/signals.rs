//! Being told to stop.

use std::io;
use std::process;

use command_line::StopSignals;
use log::{info, warn};
use tokio_util::sync::CancellationToken;

use crate::FAILED;
use crate::process_group::LiveGroups;

/// Cancels what it answers when the process is told to stop, and ends the process when it is told so
/// again, and with it the commands that run.
pub(crate) fn stop_when_told(commands: LiveGroups) -> io::Result<CancellationToken> {
    let mut signals = StopSignals::watch()?;
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        let signal = signals.next().await;
        info!(signal = signal; "stopping");
        told.cancel();
        let signal = signals.next_wish().await;
        warn!(signal = signal; "stopped at once");
        let _no_more = commands.kill();
        process::exit(FAILED.into());
    });
    Ok(stop)
}
