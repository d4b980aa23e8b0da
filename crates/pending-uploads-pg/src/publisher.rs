//! Publishing in groups: what arrives while one publish commits is published together next.

use pending_uploads_core::{PendingUpload, Quota, WorkspaceId};

use crate::batch::{Attempt, publish_alone};
use crate::database::Database;
use crate::error::PgError;
use crate::group::{self, Fate};
use crate::lanes::Grouped;
use crate::publish::Publication;

/// Publications that have all their bytes in memory. No two groups have the same workspace, whose
/// counter's lock the one would only keep from the other.
#[derive(Debug)]
pub(crate) struct Publishing {
    pub(crate) quota: Quota,
}

impl Grouped for Publishing {
    type Ask = Publication;
    type Answer = Vec<PendingUpload>;

    async fn together(
        &self,
        database: &Database,
        publications: &[Publication],
    ) -> Result<Vec<Option<Vec<PendingUpload>>>, PgError> {
        let fates = group::publish(database, self.quota, publications).await?;
        let answers = publications.iter().zip(fates).map(|(publication, fate)| {
            if fate == Fate::PassedBy {
                return None;
            }
            // Here, so that readers are woken even when the caller has gone away.
            database.announce(publication.workspace);
            Some(publication.uploads.clone())
        });
        Ok(answers.collect())
    }

    async fn alone(
        &self,
        database: &Database,
        publication: Publication,
        attempt: Attempt,
    ) -> Result<Vec<PendingUpload>, PgError> {
        publish_alone(database.clone(), publication, attempt).await
    }

    fn exclusive(publication: &Publication) -> Option<WorkspaceId> {
        Some(publication.workspace)
    }

    fn bytes(publication: &Publication) -> usize {
        publication.bytes_in_memory()
    }
}
