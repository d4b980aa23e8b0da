//! The deadline of a peer that says nothing.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// Runs while a peer is waited for, and starts anew each time that it was heard.
#[derive(Debug)]
pub(crate) struct IdleDeadline {
    timeout: Duration,
    /// Set while the peer is waited for.
    running: Option<Pin<Box<Sleep>>>,
}

impl IdleDeadline {
    /// A deadline that does not run yet.
    pub(crate) fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            running: None,
        }
    }

    /// The peer was heard.
    pub(crate) fn heard(&mut self) {
        self.running = None;
    }

    /// The peer was not heard: ready once it has been silent for the timeout.
    pub(crate) fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timeout = self.timeout;
        self.running
            .get_or_insert_with(|| Box::pin(sleep(timeout)))
            .as_mut()
            .poll(cx)
    }
}
