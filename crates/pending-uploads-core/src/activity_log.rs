//! The feed: the trait that a backend implements.

use std::time::Duration;

use async_trait::async_trait;

use crate::{Activity, ActivityQuery, NewActivity, Result, Timestamp, WorkspaceId};

/// Each workspace's feed of rows, numbered in commit order without a gap, so that a reader who has
/// seen everything up to row *n* will see everything after it.
#[async_trait]
pub trait ActivityLog: Send + Sync {
    /// Appends a row to the workspace's feed.
    ///
    /// Durable, and visible to every reader, when it answers; whoever waits for the feed is woken.
    /// Every repetition appends another row. A dropped future leaves the row appended or not.
    ///
    /// The caller has checked that no body is nested more than 127 deep: a store that keeps text could
    /// not read it again.
    ///
    /// # Errors
    /// [`UnknownWorkspace`](crate::Error::UnknownWorkspace);
    /// [`Unavailable`](crate::Error::Unavailable) (the row may be there),
    /// [`Backend`](crate::Error::Backend).
    async fn append(&self, workspace: WorkspaceId, activity: NewActivity) -> Result<Activity>;

    /// Lists rows of the workspace's feed: after a cursor or from the oldest on, oldest first, or
    /// from the newest back.
    ///
    /// An answer has at most as many rows as were asked for, and fewer when their bodies are over
    /// [`MAX_BODY_BYTES`](crate::PageSize::MAX_BODY_BYTES) together, but one at least when there is
    /// one: only an empty answer says that there is nothing more.
    ///
    /// A row that a concurrent writer has not committed is not seen, and none with a lower number
    /// can appear later. Repeating it changes nothing; a dropped future leaves nothing.
    ///
    /// # Errors
    /// [`CursorGone`](crate::Error::CursorGone) when the cursor names no row of this feed, and never
    /// without a cursor;
    /// [`Integrity`](crate::Error::Integrity), [`Unavailable`](crate::Error::Unavailable),
    /// [`Backend`](crate::Error::Backend). The feed of an unknown workspace is empty.
    async fn list(&self, workspace: WorkspaceId, query: &ActivityQuery) -> Result<Vec<Activity>>;

    /// As [`list`](Self::list), but when there is nothing after the cursor, or nothing at all yet,
    /// it waits until a row that matches is committed by any instance, or until `patience` is over,
    /// and then answers an empty list.
    ///
    /// It holds no connection while it waits. A wake-up may be late by a few seconds when a hint
    /// between two instances was lost; a row is never missed. From the newest row back
    /// ([`FeedStart::Newest`](crate::FeedStart::Newest)) it does not wait. A dropped future leaves
    /// nothing.
    ///
    /// # Errors
    /// Those of [`list`](Self::list).
    async fn wait(
        &self,
        workspace: WorkspaceId,
        query: &ActivityQuery,
        patience: Duration,
    ) -> Result<Vec<Activity>>;

    /// Deletes one bounded step of the rows that were appended before `horizon`, and answers how
    /// many; the newest row of each workspace stays, so that a quiet workspace keeps its cursor.
    /// Of each feed it deletes from the beginning on, and none that is behind a row that stays: a
    /// clock that was set back may have left younger rows before older ones, and no cursor may lead
    /// past rows that are gone.
    ///
    /// Repeat it until it answers zero. A dropped future leaves the step done or not.
    ///
    /// # Errors
    /// [`Unavailable`](crate::Error::Unavailable), [`Backend`](crate::Error::Backend).
    async fn prune(&self, horizon: Timestamp) -> Result<u64>;
}
