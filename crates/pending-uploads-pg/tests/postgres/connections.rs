//! Which connections are made and kept, and what they are kept for.

use std::num::NonZeroUsize;
use std::sync::Arc;

use futures_util::future::join_all;
use pending_uploads_core::{
    ActivityLog, ActivityQuery, Error, FeedStart, NewActivity, SystemClock,
};
use pending_uploads_pg::{Database, DatabaseConfig, PgActivityLog};
use serde_json::Value;

use crate::support::{self, until};

#[tokio::test(flavor = "multi_thread")]
async fn no_connection_to_a_server_that_takes_no_writes_is_kept() {
    let test_database = support::migrated().await;
    let db = support::db_client(&test_database).await;
    let name = test_database.name();
    // As a standby does.
    let take_no_writes = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
    db.batch_execute(&take_no_writes).await.unwrap();
    let database = support::connect(&test_database);
    let refused = database.schema().await;
    assert!(
        matches!(refused, Err(Error::Unavailable { .. })),
        "{refused:?}"
    );
    let take_writes = format!("ALTER DATABASE {name} RESET default_transaction_read_only");
    db.batch_execute(&take_writes).await.unwrap();
    support::register(&database, Arc::new(SystemClock)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_wait_for_one_feed_leave_connections_to_the_others() {
    let test_database = support::migrated().await;
    let config = DatabaseConfig::parse(&test_database.url()).unwrap();
    let four = NonZeroUsize::new(4).unwrap();
    let database = Database::connect(&config.with_pool_size(four)).unwrap();
    let clock = Arc::new(SystemClock);
    let held = support::register(&database, clock.clone()).await;
    let other = support::register(&database, clock.clone()).await;
    let db = support::db_client(&test_database).await;
    db.batch_execute(&format!(
        "BEGIN; SELECT FROM feed_counters WHERE workspace_id = '{held}' FOR UPDATE"
    ))
    .await
    .unwrap();
    let feed = PgActivityLog::new(&database, clock);
    let appending = (0..8).map(|_| {
        let feed = feed.clone();
        let message = NewActivity::message(held, "message/send", Value::Null);
        tokio::spawn(async move { feed.append(held, message).await })
    });
    let appending: Vec<_> = appending.collect();
    until("half of the connections wait for the feed", async || {
        support::db_who_wait_for_locks(&db).await == 2
    })
    .await;
    let query = ActivityQuery::from_start(FeedStart::Newest);
    assert_eq!(feed.list(other, &query).await.unwrap(), []);
    assert_eq!(support::db_who_wait_for_locks(&db).await, 2);
    db.batch_execute("COMMIT").await.unwrap();
    for appended in join_all(appending).await {
        appended.unwrap().unwrap();
    }
}
