//! Reading the feed.

use std::sync::Arc;
use std::time::Duration;

use log::{info, warn};
use pending_uploads_core::{ActivityType, FileId, PendingUri, Report, Seq};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::Engine;
use super::files::Claim;
use super::health::Route;
use super::setback::asked;
use super::take::lost_unknown;
use crate::journal::Position;
use crate::platform::{CallError, FeedCursor, FeedQuery, FeedRow, RowContent};
use crate::retry::Backoff;
use crate::{LostReason, WaitingFile};

/// How many pages are read ahead of the one whose messages are handed over.
const PAGES_AHEAD: usize = 1;
/// How many rows are asked for at a time. The platform ends a page earlier when its bodies are large.
const ROWS_OF_A_PAGE: u32 = 100;
/// How long a platform is left alone, at most, that does not wait when it is polled.
const LONGEST_MOMENT: Duration = Duration::from_secs(1);
/// How many announcements of unknown files a page may have until the platform is asked for a list
/// before any of them is fetched: most files of a long backlog are gone.
const FEW_ANNOUNCEMENTS: usize = 4;

/// Where pages go whose rows are to be handed on.
pub(super) fn pages() -> (mpsc::Sender<Vec<FeedRow>>, mpsc::Receiver<Vec<FeedRow>>) {
    mpsc::channel(PAGES_AHEAD)
}

impl Engine {
    /// Reads the feed from `cursor` on, or from its beginning; has the files that it announces taken;
    /// and passes its rows on.
    ///
    /// When the cursor is gone, it reads from the beginning again and passes over what was read
    /// before.
    pub(super) async fn read_feed(
        self: Arc<Self>,
        cursor: Option<Position>,
        pages: mpsc::Sender<Vec<FeedRow>>,
    ) {
        let mut backoff = Backoff::new(self.options.retry);
        let past = match cursor {
            Some(_) => Past(None),
            None => self.past(&mut backoff).await,
        };
        let mut read = cursor;
        let mut next = start(cursor);
        loop {
            let asked_at = Instant::now();
            let unreadable = self.lists.unreadable();
            let rows = match self.page(next).await {
                Ok(rows) => rows,
                Err(failure) => {
                    if matches!(failure, CallError::CursorGone) && next != FeedCursor::Beginning {
                        warn!(workspace_id:% = self.workspace_id; "the cursor is gone: the feed is read from its beginning again");
                        self.lists.poke();
                        next = FeedCursor::Beginning;
                    }
                    self.pause_after(&failure, asked_at, &mut backoff).await;
                    continue;
                }
            };
            let Some(last) = last_of_new(next, &rows) else {
                backoff.reset();
                self.refuse_all(unreadable);
                self.pause_since(asked_at).await;
                continue;
            };
            if let Err(failure) = self.take_what_is_announced(&rows, past).await {
                self.pause_after(&failure, asked_at, &mut backoff).await;
                continue;
            }
            let unread: Vec<_> = rows.into_iter().filter(|row| is_after(row, read)).collect();
            // Reading again what was read before is no sign that the next cursor will be known.
            if !unread.is_empty() {
                backoff.reset();
            }
            if pages.send(unread).await.is_err() {
                return;
            }
            next = FeedCursor::After(last.id);
            read = Some(later(read, last));
        }
    }

    /// How far the feed is that an inbox without a past finds.
    async fn past(&self, backoff: &mut Backoff) -> Past {
        loop {
            let asked_at = Instant::now();
            match self.page(FeedCursor::Newest).await {
                Ok(rows) => {
                    let last = rows.first().map(|newest| newest.seq);
                    info!(
                        workspace_id:% = self.workspace_id, rows_before = last.map_or(0, |seq| seq.0);
                        "the feed is read from its beginning"
                    );
                    return Past(last);
                }
                Err(failure) => self.pause_after(&failure, asked_at, backoff).await,
            }
        }
    }

    /// Follows the feed for the files that it announces, from its end on, and leaves everything else
    /// in it alone.
    pub(super) async fn watch_feed(self: Arc<Self>) {
        let mut backoff = Backoff::new(self.options.retry);
        let mut next = FeedCursor::Newest;
        loop {
            let asked_at = Instant::now();
            let unreadable = self.lists.unreadable();
            let taken = match self.page(next).await {
                Ok(rows) if next == FeedCursor::Newest => {
                    // What these announced long ago is in the list, if it waits.
                    self.lists.poke();
                    next = behind_newest(&rows);
                    continue;
                }
                Ok(rows) => {
                    let taken = self.take_what_is_announced(&rows, Past(None)).await;
                    taken.map(|()| rows)
                }
                Err(failure) => Err(failure),
            };
            match taken {
                Ok(rows) => {
                    backoff.reset();
                    if let Some(last) = last_of_new(next, &rows) {
                        next = FeedCursor::After(last.id);
                    } else {
                        self.refuse_all(unreadable);
                        self.pause_since(asked_at).await;
                    }
                }
                Err(failure) => {
                    if matches!(failure, CallError::CursorGone) {
                        next = FeedCursor::Newest;
                    }
                    self.pause_after(&failure, asked_at, &mut backoff).await;
                }
            }
        }
    }

    /// What a failed call has taken counts as part of the pause: something in between that cuts each
    /// poll that waits for long keeps no row back.
    async fn pause_after(&self, failure: &CallError, asked_at: Instant, backoff: &mut Backoff) {
        let asked = asked(failure);
        let (delay, taken) = (backoff.next(asked), asked_at.elapsed());
        warn!(workspace_id:% = self.workspace_id, error:% = Report(failure); "poll failed");
        if asked.is_some() {
            return self.pause(delay, asked).await;
        }
        if taken > delay {
            backoff.reset();
        }
        self.pause(delay.saturating_sub(taken), None).await;
        self.pause_since(asked_at).await;
    }

    /// A poll that brought nothing has waited. A platform that did not wait, because it is stopping
    /// or never does, is left alone for a moment.
    async fn pause_since(&self, asked_at: Instant) {
        let moment = self.options.retry.first.min(LONGEST_MOMENT);
        sleep_until(asked_at + moment).await;
    }

    async fn page(&self, cursor: FeedCursor) -> Result<Vec<FeedRow>, CallError> {
        let query = FeedQuery {
            after: cursor,
            kind: ActivityType::A2A_RECEIVE,
            wait: self.options.wait,
            limit: ROWS_OF_A_PAGE,
        };
        let page = self.platform.feed(&query).await;
        self.note(Route::Feed, &page);
        page
    }

    async fn take_what_is_announced(
        self: &Arc<Self>,
        rows: &[FeedRow],
        past: Past,
    ) -> Result<(), CallError> {
        let unknown = self.unknown_files(rows, past);
        let unreadable = self.unknown_unreadable_files(rows);
        let are_few = unknown.len() <= FEW_ANNOUNCEMENTS;
        if are_few && unreadable.is_empty() && !unknown.iter().any(|(_, age)| *age == Age::Past) {
            for (file, _) in unknown {
                self.take_announced(file);
            }
            return Ok(());
        }
        self.list_anew().await?;
        let (listed, unlisted): (Vec<_>, Vec<_>) = unknown
            .into_iter()
            .filter(|(file, _)| !self.files.knows(file.file_id))
            .partition(|(file, _)| self.lists.names(file.file_id));
        // What the list says of these cannot be read; but they wait, and the announcement can.
        for (file, _) in listed {
            self.take_announced(file);
        }
        if !unlisted.is_empty() {
            self.settle_unlisted(unlisted).await?;
        }
        self.refuse_all(unreadable);
        Ok(())
    }

    /// Refuses files that are announced, or listed, in a way that cannot be read, as far as nothing
    /// else is known of them. Of a listed one, a poll that began behind the list and brought nothing
    /// has told that the feed says no more of it.
    pub(super) fn refuse_all(self: &Arc<Self>, files: Vec<FileId>) {
        for file_id in files {
            self.refuse(file_id);
        }
    }

    /// A file of which nothing can be read but its id cannot be checked when it comes.
    fn refuse(self: &Arc<Self>, file_id: FileId) {
        if self.files.begin(file_id) == Claim::Known {
            return;
        }
        let uri = PendingUri {
            workspace_id: self.workspace_id,
            file_id,
        };
        let engine = Arc::clone(self);
        self.spawn(async move {
            let lost = lost_unknown(uri, LostReason::Refused, engine.clock.now());
            engine.lose(lost).await;
        });
    }

    /// The files that are announced in a way that cannot be read, as far as it tells which they are.
    fn unknown_unreadable_files(&self, rows: &[FeedRow]) -> Vec<FileId> {
        let unreadable = rows.iter().filter_map(|row| match &row.content {
            RowContent::UnreadableAnnouncement(file_id) => {
                warn!(workspace_id:% = self.workspace_id, row_id:% = row.id; "an announcement cannot be read");
                *file_id
            }
            _ => None,
        });
        unreadable.filter(|id| !self.files.knows(*id)).collect()
    }

    fn unknown_files(&self, rows: &[FeedRow], past: Past) -> Vec<(WaitingFile, Age)> {
        rows.iter()
            .filter_map(|row| match &row.content {
                RowContent::Announcement(file) => Some((WaitingFile::clone(file), past.age(row))),
                _ => None,
            })
            .filter(|(file, _)| !self.files.knows(file.file_id))
            .collect()
    }
}

/// The last row that was there before an inbox without a past began; none for one that has a past.
#[derive(Debug, Clone, Copy)]
struct Past(Option<Seq>);

impl Past {
    fn age(self, row: &FeedRow) -> Age {
        match self.0 {
            Some(last) if row.seq <= last => Age::Past,
            _ => Age::Present,
        }
    }
}

/// Whether a row was there before an inbox without a past began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// It was.
    Past,
    /// It was not, or the inbox has a past.
    Present,
}

/// A row's position in the feed.
pub(super) fn position(row: &FeedRow) -> Position {
    Position {
        id: row.id,
        seq: row.seq,
        created_at: row.created_at,
    }
}

fn start(cursor: Option<Position>) -> FeedCursor {
    cursor.map_or(FeedCursor::Beginning, |position| {
        FeedCursor::After(position.id)
    })
}

/// The position of the last row of a page; none when there is nothing in it, or nothing but the row
/// that it should have begun behind.
fn last_of_new(asked: FeedCursor, rows: &[FeedRow]) -> Option<Position> {
    let last = rows.last().map(position)?;
    (asked != FeedCursor::After(last.id)).then_some(last)
}

/// Where a watch goes on behind the first page: that begins with the newest row, which is behind every
/// row there is.
fn behind_newest(rows: &[FeedRow]) -> FeedCursor {
    rows.first()
        .map_or(FeedCursor::Beginning, |newest| FeedCursor::After(newest.id))
}

/// Whether a row comes after what was read. A feed that a platform began anew numbers its rows anew,
/// but not their times.
fn is_after(row: &FeedRow, read: Option<Position>) -> bool {
    read.is_none_or(|read| row.seq > read.seq || row.created_at > read.created_at)
}

/// The furthest that was read.
fn later(read: Option<Position>, last: Position) -> Position {
    match read {
        Some(read) if last.seq <= read.seq && last.created_at <= read.created_at => read,
        _ => last,
    }
}
