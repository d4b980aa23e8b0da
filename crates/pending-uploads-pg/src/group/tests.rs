//! Groups in which not all can be published, on a database of their own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pending_uploads_core::{
    FileId, Filename, Mimetype, PendingUpload, Registrar, Registration, Sha256, SystemClock,
    Timestamp, WorkspaceId, Workspaces,
};
use pg_cluster::TestDatabase;

use super::*;
use crate::chunks::Chunk;
use crate::cuts::Cuts;
use crate::publish::Staging;
use crate::{DatabaseConfig, PgWorkspaces, migrate};

const QUOTA: Quota = Quota {
    waiting_bytes: 10,
    waiting_files: 3,
};

struct Scene {
    database: Database,
    _test_database: TestDatabase,
}

impl Scene {
    async fn new() -> Self {
        let test_database = TestDatabase::create();
        let config = DatabaseConfig::parse(&test_database.url()).unwrap();
        let database = Database::connect(&config).unwrap();
        migrate::up(&database).await.unwrap();
        Self {
            database,
            _test_database: test_database,
        }
    }

    async fn workspace(&self) -> WorkspaceId {
        let registration = Registration::polling(WorkspaceId::generate());
        let id = registration.id;
        let workspaces = PgWorkspaces::new(&self.database, Arc::new(SystemClock));
        let registered = workspaces.register(registration, Registrar::Anonymous);
        registered.await.unwrap();
        id
    }

    async fn publish(&self, publications: &[Publication]) -> Vec<Fate> {
        publish(&self.database, QUOTA, publications).await.unwrap()
    }

    /// What is stored of a workspace: its files, the numbers of its rows, its counter, and the
    /// bounds of what waits.
    async fn stored(&self, workspace: WorkspaceId) -> (Vec<FileId>, Vec<i64>, i64, i64, i64) {
        let sql = "SELECT \
             ARRAY(SELECT file_id FROM pending_uploads JOIN pending_upload_chunks USING (file_id) \
                 WHERE workspace_id = $1 ORDER BY file_id) AS files, \
             ARRAY(SELECT seq FROM activity WHERE workspace_id = $1 ORDER BY seq) AS seqs, \
             last_seq, waiting_files, waiting_bytes \
             FROM feed_counters WHERE workspace_id = $1";
        let rows = self.database.query(sql, &[&workspace.as_uuid()]).await;
        let rows = rows.unwrap();
        let files: Vec<Uuid> = rows[0].get("files");
        (
            files.into_iter().map(FileId::from_uuid).collect(),
            rows[0].get("seqs"),
            rows[0].get("last_seq"),
            rows[0].get("waiting_files"),
            rows[0].get("waiting_bytes"),
        )
    }

    async fn chunk_count(&self) -> i64 {
        let count = "SELECT count(*) FROM pending_upload_chunks";
        self.database.query(count, &[]).await.unwrap()[0].get(0)
    }
}

/// A publication of files of so many bytes.
fn publication(workspace: WorkspaceId, sizes: &[usize]) -> Publication {
    let created_at = Timestamp::from_micros(1_000_000);
    let expires_at = created_at.saturating_add(Duration::from_hours(24));
    let file = |size: &usize| {
        let data = vec![b'x'; *size];
        let upload = PendingUpload {
            file_id: FileId::generate(),
            workspace_id: workspace,
            filename: Filename::sanitize("report.pdf"),
            mimetype: Mimetype::absent(),
            size_bytes: data.len() as u64,
            sha256: Sha256::of(&data),
            created_at,
            expires_at,
            fetched_at: None,
            acked_at: None,
        };
        let chunk = Chunk {
            file_id: upload.file_id,
            seq: 0,
            data: Bytes::from(data),
        };
        (upload, chunk)
    };
    let (uploads, chunks) = sizes.iter().map(file).unzip();
    Publication {
        workspace,
        batch_id: Uuid::now_v7(),
        staging: Staging::InMemory,
        quota: QUOTA,
        cuts: Cuts::default(),
        created_at,
        expires_at,
        uploads,
        chunks,
    }
}

fn ids(publication: &Publication) -> Vec<FileId> {
    let uploads = publication.uploads.iter();
    uploads.map(|upload| upload.file_id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_over_the_quota_does_not_keep_others_of_its_group_from_being_published() {
    let scene = Scene::new().await;
    let (full, fine) = (scene.workspace().await, scene.workspace().await);
    let group = [
        publication(full, &[6]),
        publication(full, &[6]),
        // It would fit by itself, but not in its place.
        publication(full, &[2]),
        publication(WorkspaceId::generate(), &[1]),
        publication(fine, &[9, 1]),
    ];
    let fates = scene.publish(&group).await;
    let (published, passed_by) = (Fate::Published, Fate::PassedBy);
    assert_eq!(
        fates,
        [published, passed_by, passed_by, passed_by, published]
    );
    assert_eq!(scene.stored(full).await, (ids(&group[0]), vec![1], 1, 1, 6));
    let both = (ids(&group[4]), vec![1, 2], 2, 2, 10);
    assert_eq!(scene.stored(fine).await, both);
    assert_eq!(scene.chunk_count().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn publications_of_one_workspace_are_numbered_in_their_order() {
    let scene = Scene::new().await;
    let (one, other) = (scene.workspace().await, scene.workspace().await);
    let group = [
        publication(one, &[1]),
        publication(other, &[1]),
        publication(one, &[1, 1]),
    ];
    assert_eq!(scene.publish(&group).await, [Fate::Published; 3]);
    let files = [ids(&group[0]), ids(&group[2])].concat();
    assert_eq!(scene.stored(one).await, (files, vec![1, 2, 3], 3, 3, 3));
    assert_eq!(
        scene.stored(other).await,
        (ids(&group[1]), vec![1], 1, 1, 1)
    );
    let feed = "SELECT (request_body ->> 'file_id')::uuid AS file FROM activity \
         WHERE workspace_id = $1 ORDER BY seq";
    let rows = scene.database.query(feed, &[&one.as_uuid()]).await.unwrap();
    let told: Vec<Uuid> = rows.iter().map(|row| row.get("file")).collect();
    let told: Vec<FileId> = told.into_iter().map(FileId::from_uuid).collect();
    assert_eq!(told, [ids(&group[0]), ids(&group[2])].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_passes_by_a_feed_that_somebody_holds() {
    let scene = Scene::new().await;
    let (held, free) = (scene.workspace().await, scene.workspace().await);
    let mut holder = scene.database.client().await.unwrap();
    let transaction = holder.transaction().await.unwrap();
    let lock = "SELECT FROM feed_counters WHERE workspace_id = $1 FOR UPDATE";
    transaction.query(lock, &[&held.as_uuid()]).await.unwrap();
    let group = [publication(held, &[1]), publication(free, &[1])];
    let fates = scene.publish(&group).await;
    assert_eq!(fates, [Fate::PassedBy, Fate::Published]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_was_committed_and_is_sent_again_changes_nothing() {
    let scene = Scene::new().await;
    let workspace = scene.workspace().await;
    let group = [publication(workspace, &[1])];
    scene.publish(&group).await;
    let before = scene.stored(workspace).await;
    let again = publish(&scene.database, QUOTA, &group).await;
    // Which of the tables is written first is for the server to choose.
    let tables = ["pending_uploads", "pending_upload_chunks"];
    assert!(again.is_err_and(|error| error.is_repetition_in(&tables)));
    assert_eq!(scene.stored(workspace).await, before);
}
