//! Which events were confirmed.

use pending_uploads_core::FileId;
use tokio::sync::{mpsc, oneshot};

use super::book::Book;
use crate::journal::{Done, Entry, FileRecord, Outcome, Position, Records};
use crate::{Event, FileArrived, FileLost};

/// What a delivery does when it is confirmed: that is written down, and the row of a message is done.
#[derive(Debug)]
pub(crate) struct Confirmation {
    entry: Entry,
    confirmed: mpsc::UnboundedSender<Entry>,
    row: Option<oneshot::Sender<()>>,
}

impl Confirmation {
    /// Says that the event was confirmed. When nobody listens any more, the inbox is closed, and the
    /// event is handed over again by the next.
    pub(crate) fn confirm(self) {
        drop(self.confirmed.send(self.entry));
        if let Some(row) = self.row {
            row.send(()).ok();
        }
    }
}

/// Where deliveries say that they were confirmed.
#[derive(Debug)]
pub(super) struct Confirmed(mpsc::UnboundedSender<Entry>);

/// What was confirmed and is to be kept.
#[derive(Debug)]
pub(super) struct Confirmations(mpsc::UnboundedReceiver<Entry>);

impl Confirmed {
    pub(super) fn new() -> (Self, Confirmations) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), Confirmations(receiver))
    }

    /// For an event about a file.
    pub(super) fn of_file(&self, file_id: FileId, event: &Event) -> Confirmation {
        let entry = match event {
            // The file may arrive after all, which is to be confirmed on its own.
            Event::FileLost(_) => Entry::LossConfirmed(file_id),
            _ => Entry::Confirmed(file_id),
        };
        Confirmation {
            entry,
            confirmed: self.0.clone(),
            row: None,
        }
    }

    /// For the message in a row, and what tells that it was confirmed.
    pub(super) fn of_message(&self, position: Position) -> (Confirmation, oneshot::Receiver<()>) {
        let (row, confirmed) = oneshot::channel();
        let confirmation = Confirmation {
            entry: Entry::MessageConfirmed(position.id, position.seq),
            confirmed: self.0.clone(),
            row: Some(row),
        };
        (confirmation, confirmed)
    }
}

impl Confirmations {
    /// Keeps what is confirmed, as much as has gathered at a time; when the inbox stops, what was
    /// confirmed before; when nobody can confirm any more, it is over.
    pub(super) async fn keep(mut self, book: Book) {
        loop {
            let first = tokio::select! {
                biased;
                first = self.0.recv() => first,
                () = book.stop.cancelled() => None,
            };
            let mut entries: Vec<_> = first.into_iter().collect();
            while let Ok(entry) = self.0.try_recv() {
                entries.push(entry);
            }
            if entries.is_empty() || book.write(entries).await.is_err() {
                return;
            }
        }
    }
}

/// The events that were told or were to be told, and were not confirmed, in the order in which they
/// came about.
pub(super) fn unconfirmed(records: &Records) -> Vec<(FileId, Event)> {
    let mut records: Vec<_> = records
        .files
        .iter()
        .filter(|(_, record)| record.confirmed == Done::NotYet)
        .collect();
    records.sort_by_key(|(_, record)| match &record.outcome {
        Outcome::Arrived(arrived) => arrived.arrived_at,
        Outcome::Lost(lost) => lost.lost_at,
    });
    records
        .into_iter()
        .map(|(file_id, record)| (*file_id, event(record)))
        .collect()
}

fn event(record: &FileRecord) -> Event {
    match &record.outcome {
        Outcome::Arrived(arrived) => Event::FileArrived(FileArrived::from(arrived)),
        Outcome::Lost(lost) => Event::FileLost(FileLost::from(lost)),
    }
}
