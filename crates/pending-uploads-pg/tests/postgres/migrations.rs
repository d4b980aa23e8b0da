//! The schema's steps, up and back.

use pending_uploads_pg::migrate::{self, MigrateError};
use pending_uploads_pg::{Database, Schema, SchemaPart};
use pg_cluster::TestDatabase;

const STEPS: [&str; 5] = [
    "V1__workspaces_and_feed",
    "V2__pending_uploads",
    "V3__waiting_bounds",
    "V4__expiry_indexes",
    "V5__chunks_in_their_page",
];

async fn parts(database: &Database) -> (SchemaPart, SchemaPart) {
    let Schema { base, uploads } = database.schema().await.unwrap();
    (base, uploads)
}

/// The tables that are there, but for the history's own.
async fn db_tables(test_database: &TestDatabase) -> i64 {
    let client = crate::support::db_client(test_database).await;
    let sql = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' \
               AND tablename <> 'refinery_schema_history'";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_are_applied_once_undone_and_applied_again() {
    let test_database = TestDatabase::create();
    let database = crate::support::connect(&test_database);
    assert_eq!(
        parts(&database).await,
        (SchemaPart::Missing, SchemaPart::Missing)
    );

    assert_eq!(migrate::up(&database).await.unwrap(), STEPS);
    assert_eq!(
        parts(&database).await,
        (SchemaPart::Ready, SchemaPart::Ready)
    );
    assert!(migrate::up(&database).await.unwrap().is_empty());

    assert_eq!(migrate::down_to(&database, 4).await.unwrap(), [STEPS[4]]);
    assert_eq!(migrate::down_to(&database, 3).await.unwrap(), [STEPS[3]]);
    assert_eq!(migrate::down_to(&database, 2).await.unwrap(), [STEPS[2]]);
    assert_eq!(
        parts(&database).await,
        (SchemaPart::Ready, SchemaPart::Missing)
    );
    assert_eq!(migrate::down_to(&database, 1).await.unwrap(), [STEPS[1]]);
    assert_eq!(
        parts(&database).await,
        (SchemaPart::Ready, SchemaPart::Missing)
    );
    assert_eq!(migrate::down_to(&database, 0).await.unwrap(), [STEPS[0]]);
    assert_eq!(db_tables(&test_database).await, 0);
    assert!(migrate::down_to(&database, 0).await.unwrap().is_empty());

    assert_eq!(migrate::up_to(&database, 1).await.unwrap(), [STEPS[0]]);
    assert_eq!(migrate::up(&database).await.unwrap(), STEPS[1..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_counted_when_its_bound_comes() {
    let test_database = TestDatabase::create();
    let database = crate::support::connect(&test_database);
    migrate::up_to(&database, 2).await.unwrap();
    let client = crate::support::db_client(&test_database).await;
    client
        .batch_execute(
            "INSERT INTO workspaces SELECT gen_random_uuid(), 'poll', NULL, 's', \
                 sha256('t'), NULL, now(), now() FROM generate_series(1, 2); \
             INSERT INTO feed_counters (workspace_id) SELECT id FROM workspaces; \
             INSERT INTO pending_uploads SELECT gen_random_uuid(), \
                 (SELECT min(id::text)::uuid FROM workspaces), 'x', 'x', '', 10 * no, 65536, \
                 sha256('x'), now(), now() + interval '1 day', NULL, \
                 CASE WHEN no = 3 THEN now() END FROM generate_series(1, 3) AS no",
        )
        .await
        .unwrap();
    migrate::up(&database).await.unwrap();
    let rows = client
        .query(
            "SELECT waiting_files, waiting_bytes FROM feed_counters ORDER BY workspace_id::text",
            &[],
        )
        .await
        .unwrap();
    let bounds: Vec<(i64, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(bounds, [(2, 30), (0, 0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_migrate_at_once_take_turns() {
    let test_database = TestDatabase::create();
    let (one, two) = (
        crate::support::connect(&test_database),
        crate::support::connect(&test_database),
    );
    let (one, two) = tokio::join!(migrate::up(&one), migrate::up(&two));
    let mut applied = [one.unwrap(), two.unwrap()].concat();
    applied.sort();
    assert_eq!(applied, STEPS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_nobody_knows_is_refused() {
    let test_database = TestDatabase::create();
    let database = crate::support::connect(&test_database);
    for refused in [
        migrate::up_to(&database, 6).await,
        migrate::down_to(&database, 9).await,
    ] {
        assert!(matches!(
            refused,
            Err(MigrateError::NoSuchVersion { newest: 5, .. })
        ));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_somebody_reads_is_not_waited_for() {
    let test_database = TestDatabase::create();
    let database = crate::support::connect(&test_database);
    migrate::up_to(&database, 3).await.unwrap();
    let reader = crate::support::db_client(&test_database).await;
    // As a backup does.
    reader
        .batch_execute("BEGIN; LOCK TABLE pending_uploads IN ACCESS SHARE MODE")
        .await
        .unwrap();
    let held = migrate::up(&database).await;
    assert!(matches!(held, Err(MigrateError::Held)), "{held:?}");
    let held = migrate::down_to(&database, 1).await;
    assert!(matches!(held, Err(MigrateError::Held)), "{held:?}");
    assert_eq!(crate::support::db_who_wait_for_locks(&reader).await, 0);
    reader.batch_execute("COMMIT").await.unwrap();
    // Steps back are a transaction each, and the third held no table of theirs.
    assert_eq!(migrate::up(&database).await.unwrap(), STEPS[2..]);
}
