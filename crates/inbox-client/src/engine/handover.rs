//! Handing messages on, in the order of the feed, each when its files are there.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use log::warn;
use pending_uploads_core::{ActivityId, PendingUri, Report, Seq};
use serde_json::Value;
use tokio::sync::mpsc;

use super::Engine;
use super::cursor::{Done, RowUnderWay};
use super::feed::position;
use super::files::{Claim, Settled};
use super::setback::asked;
use super::take::lost_unknown;
use crate::inbox::Delivery;
use crate::journal::Position;
use crate::platform::{FeedRow, RowContent};
use crate::retry::Backoff;
use crate::rewrite::{mentions, rewrite};
use crate::{Event, LostReason, Message};

impl Engine {
    /// Hands each row on: a message when each file that it mentions has arrived or is lost, the
    /// announcement of a file to whoever moves the cursor. Messages keep their order. One that was
    /// confirmed before, while a row before it was not done, does not come again.
    pub(super) async fn hand_over(
        self: Arc<Self>,
        mut pages: mpsc::Receiver<Vec<FeedRow>>,
        rows: mpsc::Sender<RowUnderWay>,
        mut confirmed_ahead: HashMap<ActivityId, Seq>,
    ) {
        while let Some(page) = pages.recv().await {
            for row in page {
                let position = position(&row);
                let done = match row.content {
                    RowContent::Announcement(file) => Done::WithFile(file.file_id),
                    RowContent::UnreadableAnnouncement(_) | RowContent::Expiry(_) => Done::Already,
                    RowContent::Message if confirmed_ahead.remove(&row.id).is_some() => {
                        Done::Already
                    }
                    RowContent::Message => self.hand_over_message(position, row.raw).await,
                };
                if rows.send(RowUnderWay { position, done }).await.is_err() {
                    return;
                }
            }
        }
    }

    async fn hand_over_message(self: &Arc<Self>, position: Position, mut row: Value) -> Done {
        if let Some(request) = row.get_mut("request_body") {
            let paths = self.files_of(request).await;
            rewrite(request, |uri| paths.get(uri).map(PathBuf::as_path));
        }
        let (confirmation, confirmed) = self.confirmed.of_message(position);
        let event = Event::Message(Message { row });
        self.deliver(Delivery::new(self.workspace_id, event, confirmation))
            .await;
        Done::WhenConfirmed(confirmed)
    }

    /// Where the files are that a message mentions, as far as they are here. Waits until each has
    /// arrived or is lost.
    async fn files_of(self: &Arc<Self>, request: &Value) -> HashMap<PendingUri, PathBuf> {
        let mut uris = mentions(request);
        // Another workspace's files cannot be had here.
        uris.retain(|uri| uri.workspace_id == self.workspace_id);
        let unknown = |uri: &PendingUri| !self.files.knows(uri.file_id);
        if uris.iter().any(unknown) {
            self.list_until_it_comes().await;
        }
        let mut paths = HashMap::new();
        for uri in uris {
            self.look_for(uri).await;
            if let Settled::Here(path) = self.files.wait_until_settled(uri.file_id).await {
                paths.insert(uri, path);
            }
        }
        paths
    }

    async fn list_until_it_comes(self: &Arc<Self>) {
        let mut backoff = Backoff::new(self.options.retry);
        while let Err(failure) = self.list_anew().await {
            warn!(workspace_id:% = self.workspace_id, error:% = Report(&failure); "list failed");
            let asked = asked(&failure);
            self.pause(backoff.next(asked), asked).await;
        }
    }

    /// Finds out about a file that a message mentions, when nothing is known of it and it does not wait
    /// on the platform: it arrived here before the journal was lost, or it is gone.
    async fn look_for(self: &Arc<Self>, uri: PendingUri) {
        if self.files.begin(uri.file_id) == Claim::Known {
            return;
        }
        if let Some(path) = self.find_by_id(uri.file_id).await {
            self.files.settle_found(uri.file_id, path);
        } else {
            // What a list names and nothing is known of could not be read, in the feed neither.
            let reason = if self.lists.names(uri.file_id) {
                LostReason::Refused
            } else {
                LostReason::Gone
            };
            let lost = lost_unknown(uri, reason, self.clock.now());
            self.lose(lost).await;
        }
    }
}
