//! A database that is moved: all of it arrives, or nothing does, and nobody writes meanwhile.

use std::sync::Arc;

use pending_uploads_core::contract::moving::Stock;
use pending_uploads_core::contract::{Instance, Subject, Terms};
use pending_uploads_core::{
    Archive, CheckedBytes, CopyError, Error, Restoration, StoreTotals, Timestamp, copy_store,
};
use pending_uploads_pg::{
    ArchiveError, Database, DatabaseConfig, PgActivityLog, PgArchive, PgRestoration, PgStorage,
    PgWorkspaces, StorageConfig, migrate,
};
use pg_cluster::TestDatabase;

use crate::support::{connect, db_client, migrated};

fn config(database: &TestDatabase) -> DatabaseConfig {
    DatabaseConfig::parse(&database.url()).unwrap()
}

fn subject(database: &Database, terms: &Terms) -> Subject {
    let clock = terms.clock.clone();
    let instance = Instance {
        storage: Arc::new(PgStorage::new(
            database,
            StorageConfig {
                quota: terms.quota,
                ..StorageConfig::default()
            },
            clock.clone(),
        )),
        activity: Arc::new(PgActivityLog::new(database, clock.clone())),
        workspaces: Arc::new(PgWorkspaces::new(database, clock)),
    };
    Subject::new(terms.clone(), instance.clone(), instance)
}

/// A database that holds something of everything, and that whoever filled it has left.
async fn stocked(terms: &Terms) -> (TestDatabase, Stock) {
    let database = migrated().await;
    let stock = Stock::fill(&subject(&connect(&database), terms)).await;
    (database, stock)
}

async fn archive(database: &TestDatabase) -> PgArchive {
    PgArchive::open(&config(database)).await.unwrap()
}

async fn restoration(database: &TestDatabase) -> Box<dyn Restoration> {
    Box::new(PgRestoration::begin(&config(database)).await.unwrap())
}

async fn copy(
    from: &TestDatabase,
    to: &TestDatabase,
    now: Timestamp,
) -> Result<StoreTotals, CopyError> {
    let (from, to) = (archive(from).await, restoration(to).await);
    copy_store(&from, to, now, &mut |_| {}).await
}

async fn db_number(database: &TestDatabase, sql: &str) -> i64 {
    db_client(database)
        .await
        .query_one(sql, &[])
        .await
        .unwrap()
        .get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_moved_serves_on() {
    let terms = Terms::default();
    let (from, stock) = stocked(&terms).await;
    let to = migrated().await;
    let totals = copy(&from, &to, stock.now()).await.unwrap();
    assert_eq!((totals.workspaces, totals.files), (3, 6));
    let bytes = "SELECT sum(octet_length(data)) FROM pending_upload_chunks";
    let stored = u64::try_from(db_number(&to, bytes).await).unwrap();
    assert_eq!(stored, totals.bytes, "only the bytes of waiting files");
    stock.check(&subject(&connect(&to), &terms)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_moved_counts_towards_the_quota() {
    let terms = Terms::default();
    let (from, stock) = stocked(&terms).await;
    let to = migrated().await;
    copy(&from, &to, stock.now()).await.unwrap();
    let terms = Terms {
        quota: stock.used_up_quota(),
        ..terms
    };
    stock
        .check_used_up_quota(&subject(&connect(&to), &terms))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_read_page_by_page() {
    let (from, _) = stocked(&Terms::default()).await;
    Stock::pages_make_the_whole(&archive(&from).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_holds_something_is_not_filled() {
    let terms = Terms::default();
    let (from, stock) = stocked(&terms).await;
    let error = PgRestoration::begin(&config(&from)).await.unwrap_err();
    assert!(matches!(error, ArchiveError::NotEmpty), "{error:?}");
    stock.check(&subject(&connect(&from), &terms)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_all_tables_is_neither_read_nor_filled() {
    let database = TestDatabase::create();
    // The steps after the third change no table.
    for version in 0..3 {
        migrate::up_to(&connect(&database), version).await.unwrap();
        let config = config(&database);
        let read = PgArchive::open(&config).await.unwrap_err();
        assert!(matches!(read, ArchiveError::NoTables), "{read:?}");
        let filled = PgRestoration::begin(&config).await.unwrap_err();
        assert!(matches!(filled, ArchiveError::NoTables), "{filled:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_connected_is_noticed_whatever_it_is_called() {
    let database = migrated().await;
    let named = format!("{}?application_name=mine", database.url());
    let named = DatabaseConfig::parse(&named).unwrap();
    for (server, asked) in [(config(&database), &named), (named.clone(), &named)] {
        let server = Database::connect(&server).unwrap();
        server.schema().await.unwrap();
        let read = PgArchive::open(asked).await.unwrap_err();
        assert!(matches!(read, ArchiveError::InUse { .. }), "{read:?}");
        let filled = PgRestoration::begin(asked).await.unwrap_err();
        assert!(matches!(filled, ArchiveError::InUse { .. }), "{filled:?}");
        drop(server);
        PgArchive::open(asked).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_just_stopping_is_waited_for() {
    let database = migrated().await;
    let config = config(&database);
    let server = Database::connect(&config).unwrap();
    server.schema().await.unwrap();
    let opening = tokio::spawn(async move { PgArchive::open(&config).await });
    let client = db_client(&database).await;
    let looked = "SELECT FROM pg_stat_activity WHERE datname = current_database() \
         AND application_name = 'pending-uploads copy' AND query LIKE '%pg_stat_activity%'";
    while client.query(looked, &[]).await.unwrap().is_empty() {
        assert!(!opening.is_finished(), "it has not looked who is there");
    }
    drop(server);
    opening.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_writes_to_a_database_that_is_held_still() {
    let database = migrated().await;
    let client = db_client(&database).await;
    let insert = "SET lock_timeout = '1ms'; INSERT INTO staged_batches \
         VALUES (gen_random_uuid(), gen_random_uuid(), '{}', now())";
    let held = archive(&database).await;
    assert!(client.batch_execute(insert).await.is_err());
    drop(held);
    let held = restoration(&database).await;
    assert!(client.batch_execute(insert).await.is_err());
    drop(held);
    client
        .batch_execute(&insert.replace("1ms", "10s"))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restoration_that_does_not_finish_leaves_nothing() {
    let terms = Terms::default();
    let (from, stock) = stocked(&terms).await;
    let from = archive(&from).await;
    let to = migrated().await;
    let mut filling = restoration(&to).await;
    for workspace in from.workspaces(None, 100).await.unwrap() {
        filling = filling.put_workspace(workspace).await.unwrap();
    }
    for upload in from.uploads(None, 100).await.unwrap() {
        let bytes = if upload.is_waiting_at(stock.now()) {
            Some(CheckedBytes::new(
                &upload,
                from.read(&upload).await.unwrap(),
            ))
        } else {
            None
        };
        filling = filling.put_upload(upload, bytes).await.unwrap();
    }
    drop(filling);
    // Begins on an empty database only.
    drop(restoration(&to).await);
    let chunks = "SELECT count(*) FROM pending_upload_chunks";
    assert_eq!(db_number(&to, chunks).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_bytes_stop_the_move_and_leave_nothing() {
    let terms = Terms::default();
    let (from, stock) = stocked(&terms).await;
    let damage = "DELETE FROM pending_upload_chunks WHERE seq = 200 RETURNING seq::int8";
    assert_eq!(db_number(&from, damage).await, 200);
    let to = migrated().await;
    let error = copy(&from, &to, stock.now()).await.unwrap_err();
    let CopyError::File { source, .. } = error else {
        panic!("{error:?}");
    };
    assert!(matches!(source, Error::Integrity { .. }), "{source:?}");
    drop(restoration(&to).await);
}
