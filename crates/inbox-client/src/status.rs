//! What an inbox has done so far, read from its journal.

use std::path::Path;

use pending_uploads_core::{ActivityId, Seq, Timestamp, WorkspaceId};

use crate::journal::{Done, Journal, JournalError, Outcome, Records};

/// What an inbox has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// The last row of the feed up to which everything is done; none while there is none.
    pub cursor: Option<CursorPosition>,
    /// How many files have arrived. Those that are gone from the disk for long are not counted.
    pub arrived: u64,
    /// How many files were lost. Those that were lost long ago are not counted.
    pub lost: u64,
    /// How many files have arrived whose ack was not answered yet.
    pub unacked: u64,
    /// How many events about files were not confirmed yet.
    pub unconfirmed: u64,
}

/// A row of the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CursorPosition {
    /// Its id.
    pub id: ActivityId,
    /// Its number.
    pub seq: Seq,
    /// When it was appended.
    pub created_at: Timestamp,
}

/// The journal cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the state of the inbox cannot be read")]
pub struct StatusError(#[source] JournalError);

impl Status {
    /// Reads what the journal of `workspace_id` in `state_folder` says now, also while an inbox runs;
    /// `None` when there never was one. Changes nothing, and waits for the disk.
    ///
    /// # Errors
    /// [`StatusError`] when the journal is damaged or cannot be read.
    pub fn read(
        state_folder: &Path,
        workspace_id: WorkspaceId,
    ) -> Result<Option<Self>, StatusError> {
        let records = Journal::read(state_folder, workspace_id).map_err(StatusError)?;
        Ok(records.as_ref().map(Self::from))
    }
}

impl From<&Records> for Status {
    fn from(records: &Records) -> Self {
        let mut status = Self {
            cursor: records.cursor.map(|position| CursorPosition {
                id: position.id,
                seq: position.seq,
                created_at: position.created_at,
            }),
            arrived: 0,
            lost: 0,
            unacked: 0,
            unconfirmed: 0,
        };
        for record in records.files.values() {
            match record.outcome {
                Outcome::Arrived(_) => {
                    status.arrived += 1;
                    status.unacked += u64::from(record.acked == Done::NotYet);
                }
                Outcome::Lost(_) => status.lost += 1,
            }
            status.unconfirmed += u64::from(record.confirmed == Done::NotYet);
        }
        status
    }
}
