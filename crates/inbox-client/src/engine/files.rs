//! Every file that the inbox knows of, and what has become of it.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pending_uploads_core::{FileId, Sha256};
use tokio::sync::watch;

use crate::LostReason;
use crate::journal::{self, FileRecord, Outcome, Records};

/// What has become of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Settled {
    /// It is on the disk.
    Here(PathBuf),
    /// It will not arrive.
    Lost,
}

/// Where a file stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// It is being taken. That it was lost before stays known, so that it is not told twice.
    Waiting(Past),
    /// It is on the disk.
    Here {
        path: PathBuf,
        sha256: Sha256,
        ack: Ack,
    },
    /// It lies on the disk, from before the journal was lost; nothing else is known of it.
    Found { path: PathBuf },
    /// It will not arrive, unless the platform lists it again.
    Lost { reason: LostReason, known: Known },
}

/// What became of a file before it was taken (again).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Past {
    Unknown,
    Lost,
}

/// Whether the platform knows that a file has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ack {
    /// It is to be told.
    Due,
    /// It is being told.
    UnderWay,
    /// It was told.
    Done,
}

/// Since when a loss is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Since before this process: the limits may be others now, and the file whole again.
    FromTheJournal,
    /// This process found it.
    FoundNow,
}

/// What is to be done about a file that the platform lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listed {
    /// It is to be taken.
    Take,
    /// It is here, with this digest: the platform is to be told.
    Ack(Sha256),
    /// Nothing: it is being taken, or acked.
    Nothing,
    /// Nothing: it cannot be taken, and goes on waiting.
    PassOver,
}

/// Every file that the inbox knows of. Shared by all its tasks.
#[derive(Debug, Default)]
pub(crate) struct Files {
    standings: Mutex<HashMap<FileId, Standing>>,
    /// Counts what was settled, for those who wait.
    settlements: watch::Sender<u64>,
}

impl Files {
    /// What the journal says.
    pub(crate) fn restore(records: &Records) -> Self {
        let standings = records
            .files
            .iter()
            .map(|(file_id, record)| (*file_id, restored(record)))
            .collect();
        Self {
            standings: Mutex::new(standings),
            settlements: watch::Sender::new(0),
        }
    }

    /// Notes that a file is being taken, if nothing was known of it; answers whether that is so.
    pub(crate) fn begin(&self, file_id: FileId) -> Claim {
        match self.lock().entry(file_id) {
            Entry::Occupied(_) => Claim::Known,
            Entry::Vacant(vacant) => {
                vacant.insert(Standing::Waiting(Past::Unknown));
                Claim::Taken
            }
        }
    }

    /// What is to be done about a file of `size_bytes` that the platform lists; it counts as being
    /// taken, or as being acked, from then on. What is too large, refused or damaged stays so while
    /// this process runs: it is not fetched again every few minutes.
    pub(crate) fn listed(
        &self,
        file_id: FileId,
        size_bytes: NonZeroU64,
        max_file_bytes: NonZeroU64,
    ) -> Listed {
        let mut standings = self.lock();
        let past = match standings.get_mut(&file_id) {
            None | Some(Standing::Found { .. }) => Past::Unknown,
            Some(Standing::Waiting(_)) => return Listed::Nothing,
            Some(Standing::Here { ack, sha256, .. }) => return begin_ack(ack, *sha256),
            Some(Standing::Lost { reason, known }) => {
                let again = match reason {
                    LostReason::TooLarge => size_bytes <= max_file_bytes,
                    // What was gone and is listed is there.
                    LostReason::Expired | LostReason::Gone => true,
                    LostReason::Refused | LostReason::Damaged => *known == Known::FromTheJournal,
                };
                if !again {
                    return Listed::PassOver;
                }
                Past::Lost
            }
        };
        standings.insert(file_id, Standing::Waiting(past));
        Listed::Take
    }

    /// The files here that the platform was not told of yet; they count as being acked from then on.
    pub(crate) fn begin_due_acks(&self) -> Vec<(FileId, Sha256)> {
        self.lock()
            .iter_mut()
            .filter_map(|(file_id, standing)| match standing {
                Standing::Here { ack, sha256, .. } if *ack == Ack::Due => {
                    *ack = Ack::UnderWay;
                    Some((*file_id, *sha256))
                }
                _ => None,
            })
            .collect()
    }

    /// Notes that a file is on the disk and that its ack is under way.
    pub(crate) fn settle_here(&self, file_id: FileId, path: PathBuf, sha256: Sha256) {
        let ack = Ack::UnderWay;
        self.settle(file_id, Standing::Here { path, sha256, ack });
    }

    /// Notes that a file, of which nothing was known, was found on the disk.
    pub(crate) fn settle_found(&self, file_id: FileId, path: PathBuf) {
        self.settle(file_id, Standing::Found { path });
    }

    /// Notes that a file will not arrive.
    pub(crate) fn settle_lost(&self, file_id: FileId, reason: LostReason) {
        let known = Known::FoundNow;
        self.settle(file_id, Standing::Lost { reason, known });
    }

    /// Whether a file that is being taken was lost before.
    pub(crate) fn was_lost_before(&self, file_id: FileId) -> bool {
        let lost = Standing::Waiting(Past::Lost);
        self.lock().get(&file_id) == Some(&lost)
    }

    /// Notes how the telling of the platform ended.
    pub(crate) fn ack_ended(&self, file_id: FileId, ended: AckEnd) {
        if let Some(Standing::Here { ack, .. }) = self.lock().get_mut(&file_id) {
            *ack = match ended {
                AckEnd::Told => Ack::Done,
                AckEnd::Untold => Ack::Due,
            };
        }
    }

    /// What has become of a file; `None` while it is being taken, or when nothing is known of it.
    pub(crate) fn settled(&self, file_id: FileId) -> Option<Settled> {
        match self.lock().get(&file_id)? {
            Standing::Waiting(_) => None,
            Standing::Here { path, .. } | Standing::Found { path } => {
                Some(Settled::Here(path.clone()))
            }
            Standing::Lost { .. } => Some(Settled::Lost),
        }
    }

    /// Whether anything is known of a file.
    pub(crate) fn knows(&self, file_id: FileId) -> bool {
        self.lock().contains_key(&file_id)
    }

    /// Waits until a file that is being taken is settled.
    pub(crate) async fn wait_until_settled(&self, file_id: FileId) -> Settled {
        // Subscribed before the look, so that what is settled in between wakes us.
        let mut settlements = self.settlements.subscribe();
        loop {
            if let Some(settled) = self.settled(file_id) {
                return settled;
            }
            // The sender lives as long as this value, so that the wait does not fail.
            drop(settlements.changed().await);
        }
    }

    /// The files that are being taken.
    pub(crate) fn waiting(&self) -> HashSet<FileId> {
        let standings = self.lock();
        let waiting = standings
            .iter()
            .filter(|(_, standing)| matches!(standing, Standing::Waiting(_)));
        waiting.map(|(file_id, _)| *file_id).collect()
    }

    fn settle(&self, file_id: FileId, standing: Standing) {
        self.lock().insert(file_id, standing);
        self.settlements.send_modify(|count| *count += 1);
    }

    /// A task that panicked with the lock left a map that is as whole as before.
    fn lock(&self) -> MutexGuard<'_, HashMap<FileId, Standing>> {
        self.standings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a file was new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It was: whoever asked takes it.
    Taken,
    /// It is taken care of already.
    Known,
}

/// How the telling of the platform ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AckEnd {
    /// It knows.
    Told,
    /// It refused to hear it; it is told again when it lists the file again.
    Untold,
}

fn restored(record: &FileRecord) -> Standing {
    match &record.outcome {
        Outcome::Arrived(arrived) => Standing::Here {
            path: arrived.path.clone(),
            sha256: arrived.file.sha256,
            ack: match record.acked {
                journal::Done::Yes => Ack::Done,
                journal::Done::NotYet => Ack::Due,
            },
        },
        Outcome::Lost(lost) => Standing::Lost {
            reason: lost.reason,
            known: Known::FromTheJournal,
        },
    }
}

/// A file that is listed although its ack was answered: the platform forgot, and is told again.
fn begin_ack(ack: &mut Ack, sha256: Sha256) -> Listed {
    if *ack == Ack::UnderWay {
        return Listed::Nothing;
    }
    *ack = Ack::UnderWay;
    Listed::Ack(sha256)
}
