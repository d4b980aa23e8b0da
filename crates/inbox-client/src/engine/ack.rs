//! Telling the platform that a file has arrived.

use std::sync::Arc;

use log::{error, warn};
use pending_uploads_core::{FileId, Report, Sha256};

use super::Engine;
use super::files::AckEnd;
use super::quiet::TooLong;
use super::setback::asked;
use crate::Scope;
use crate::journal::Entry;
use crate::platform::CallError;
use crate::retry::Backoff;

impl Engine {
    /// Acks every file that arrived before and is not known to be acked.
    pub(super) fn ack_what_is_due(self: &Arc<Self>) {
        for (file_id, sha256) in self.files.begin_due_acks() {
            self.spawn(Arc::clone(self).ack_again(file_id, sha256));
        }
    }

    /// Acks a file that is settled.
    pub(super) async fn ack_again(self: Arc<Self>, file_id: FileId, sha256: Sha256) {
        let ended = self.ack(file_id, sha256).await;
        self.files.ack_ended(file_id, ended);
    }

    /// Tells the platform until it knows. A file that it does not have any more needs no ack.
    pub(super) async fn ack(&self, file_id: FileId, sha256: Sha256) -> AckEnd {
        let mut backoff = Backoff::new(self.options.retry);
        for attempts in 1_u32.. {
            let Ok(answer) = self.ack_once(file_id, sha256).await else {
                self.leftovers.found();
                break;
            };
            let asked = match answer {
                Ok(()) | Err(CallError::NotFound) => return self.acked(file_id).await,
                Err(CallError::DigestMismatch) => {
                    error!(workspace_id:% = self.workspace_id, file_id:% = file_id; "the platform has another digest than it announced");
                    self.leftovers.found();
                    return AckEnd::Untold;
                }
                Err(failure) => {
                    warn!(workspace_id:% = self.workspace_id, file_id:% = file_id, error:% = Report(&failure), attempts; "ack failed");
                    asked(&failure)
                }
            };
            if self.gives_up(attempts, asked) {
                self.leftovers.found();
                break;
            }
            self.pause(backoff.next(asked), asked).await;
        }
        AckEnd::Untold
    }

    async fn ack_once(
        &self,
        file_id: FileId,
        sha256: Sha256,
    ) -> Result<Result<(), CallError>, TooLong> {
        if self.options.scope != Scope::WaitingFiles {
            self.health.platform_answers().await;
        }
        // Nobody closes the slots, so that one always comes.
        let _slot = self.ack_slots.acquire().await;
        self.quiet_is_over().await?;
        let acked = self.platform.ack(file_id, sha256).await;
        if let Err(failure) = &acked {
            self.heed(asked(failure));
        }
        Ok(acked)
    }

    async fn acked(&self, file_id: FileId) -> AckEnd {
        match self.book.write(vec![Entry::Acked(file_id)]).await {
            Ok(()) => AckEnd::Told,
            Err(_) => AckEnd::Untold,
        }
    }
}
