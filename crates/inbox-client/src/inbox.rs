//! An inbox that is open, and what it hands over.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use pending_uploads_core::WorkspaceId;
use tokio::sync::watch;

use crate::engine::{Confirmation, Ending, Running};
use crate::{Condition, Event, InboxBuilder};

/// An inbox at work: it follows one workspace until it is closed or dropped.
///
/// It works whether it is looked at or not, but for messages, few of which are read ahead: files
/// arrive and are acked even while nobody takes the events.
///
/// Dropping it stops it, and the folder of its state is free soon after; [`close`](Self::close) stops it
/// and waits until everything that was confirmed is durable, and the folder is free. However it ends, a
/// later inbox goes on where it was.
#[derive(Debug)]
pub struct Inbox {
    workspace_id: WorkspaceId,
    running: Running,
}

impl Inbox {
    /// What an inbox is made with.
    pub fn builder() -> InboxBuilder {
        InboxBuilder::default()
    }

    pub(crate) fn new(workspace_id: WorkspaceId, running: Running) -> Self {
        Self {
            workspace_id,
            running,
        }
    }

    /// The workspace that it follows.
    pub fn workspace_id(&self) -> WorkspaceId {
        self.workspace_id
    }

    /// The next event, as soon as there is one; `None` when there will be no more: with
    /// [`Scope::WaitingFiles`](crate::Scope::WaitingFiles) when nothing is left to take, and when the
    /// journal broke.
    ///
    /// Messages come in the order of the feed, each after the events about the files that it
    /// mentions. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Delivery> {
        self.running.next().await
    }

    /// How it is doing.
    pub fn condition(&self) -> Condition {
        *self.running.conditions().borrow()
    }

    /// How it is doing, now and whenever that changes.
    pub fn conditions(&self) -> watch::Receiver<Condition> {
        self.running.conditions().clone()
    }

    /// Stops: fetches break off, to be resumed by a later inbox; what was confirmed is written down;
    /// and the folder of its state is given free.
    ///
    /// Dropping the future stops it all the same, without waiting.
    pub async fn close(self) -> Ending {
        self.running.close().await
    }
}

/// The events of [`Inbox::next`].
impl Stream for Inbox {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.running.poll_next(context)
    }
}

/// An event that is handed over, until it is confirmed.
///
/// One that is dropped instead counts as not handled. It is handed over again by the next inbox on
/// the same state, and the cursor stays before it until then: of messages, no more than 256 follow.
#[derive(Debug)]
#[must_use = "an event that is not confirmed is handed over again by the next inbox"]
pub struct Delivery {
    workspace_id: WorkspaceId,
    event: Event,
    confirmation: Confirmation,
}

impl Delivery {
    pub(crate) fn new(workspace_id: WorkspaceId, event: Event, confirmation: Confirmation) -> Self {
        Self {
            workspace_id,
            event,
            confirmation,
        }
    }

    /// The workspace that it is for.
    pub fn workspace_id(&self) -> WorkspaceId {
        self.workspace_id
    }

    /// What happened.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// Says that the event is handled: it is not handed over again.
    ///
    /// That is written down soon after; a process that is killed in between hands the event over
    /// once more, and [`Inbox::close`] waits for it. Messages may be confirmed in any order: one that is
    /// confirmed does not come again, and the cursor moves past it when each row before it is done, too.
    pub fn confirm(self) {
        self.confirmation.confirm();
    }
}
