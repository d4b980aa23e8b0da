//! What keeps a file from arriving, for now or for good.

use std::io;
use std::time::Duration;

use crate::LostReason;
use crate::folder::PartialError;
use crate::platform::CallError;

/// Why an attempt at a file did not end with the file.
#[derive(Debug, thiserror::Error)]
pub(super) enum Setback {
    /// It will not arrive.
    #[error("the file is lost: {}", .0.as_str())]
    Lost(LostReason),
    /// The platform did not hand it over; some bytes of it may have come.
    #[error("the platform did not hand the file over")]
    Call(#[source] CallError, Progress),
    /// It came whole, and is not what was announced.
    #[error("the file's digest is not the one that was announced")]
    Damaged,
    /// Another inbox is writing it.
    #[error("another inbox is writing the file")]
    Busy,
    /// Too little of the disk is free for it.
    #[error("the disk has no room for the file")]
    NoRoom,
    /// The disk did not take it, however much was free: its writer's share may be used up.
    #[error("the disk has no room for the file")]
    DiskFull,
    /// It could not be written.
    #[error("the file could not be written")]
    Disk(#[source] io::Error),
}

/// Whether an attempt brought the file any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// More of the file is on the disk than before.
    Some,
    /// It is not.
    None,
}

impl Setback {
    /// How long the platform asked to be left alone.
    pub(super) fn asked(&self) -> Option<Duration> {
        match self {
            Self::Call(failure, _) => asked(failure),
            _ => None,
        }
    }
}

impl From<PartialError> for Setback {
    fn from(error: PartialError) -> Self {
        match error {
            PartialError::Busy => Self::Busy,
            PartialError::Damaged | PartialError::TooLong | PartialError::TooShort => Self::Damaged,
            PartialError::DiskFull(_) => Self::DiskFull,
            PartialError::Io(error) => Self::Disk(error),
        }
    }
}

/// How often a file came to the same setback, for those that are not tried for ever.
#[derive(Debug, Default)]
pub(super) struct Setbacks {
    damaged: u32,
    refused: u32,
}

impl Setbacks {
    /// How many whole transfers of a file may be damaged, and how many of its fetches refused, until
    /// it counts as lost. Something between here and the platform may be the cause of the first.
    const MOST: u32 = 5;

    /// Counts a setback, and answers the reason when the file counts as lost.
    pub(super) fn count(&mut self, setback: &Setback) -> Option<LostReason> {
        match setback {
            Setback::Lost(reason) => Some(*reason),
            Setback::Damaged => {
                self.damaged += 1;
                (self.damaged >= Self::MOST).then_some(LostReason::Damaged)
            }
            // One without a code does not come from the platform, but from something before it.
            Setback::Call(CallError::Refused { code: Some(_), .. }, _) => {
                self.refused += 1;
                (self.refused >= Self::MOST).then_some(LostReason::Refused)
            }
            _ => None,
        }
    }
}

/// How long the platform asked to be left alone.
pub(super) fn asked(failure: &CallError) -> Option<Duration> {
    match failure {
        CallError::Unavailable { retry_after } => *retry_after,
        _ => None,
    }
}
