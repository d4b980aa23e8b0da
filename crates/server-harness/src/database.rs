//! PostgreSQL databases for servers under test, and questions that only the database can answer.

use std::sync::LazyLock;

use pg_cluster::TestDatabase;
use tokio_postgres::NoTls;
use tokio_postgres::types::FromSqlOwned;

use crate::ServerBuilder;

/// A database in which every migration was applied, for all others to be copied from.
static TEMPLATE: LazyLock<TestDatabase> = LazyLock::new(|| {
    let database = TestDatabase::create();
    migrate(&database.url(), &[]);
    database
});

/// A fresh database with all tables.
pub fn migrated() -> TestDatabase {
    TEMPLATE.copy()
}

/// Runs `platform-server migrate`, which must succeed, and answers what it printed.
pub fn migrate(url: &str, arguments: &[&str]) -> String {
    let builder = ServerBuilder::bare()
        .set("DATABASE_URL", url)
        .arg("migrate");
    let builder = arguments
        .iter()
        .fold(builder, |builder, argument| builder.arg(argument));
    let (status, process) = builder.run();
    assert!(status.success(), "{status}: {}", process.log());
    process.stdout()
}

/// Asks the database at `url` for one value.
pub async fn db_value<T: FromSqlOwned>(url: &str, query: &str) -> T {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    let value = client.query_one(query, &[]).await.unwrap().get(0);
    drop(client);
    driver.await.unwrap().unwrap();
    value
}

/// How many rows a table holds.
pub async fn db_count(url: &str, table: &str) -> i64 {
    db_value(url, &format!("SELECT count(*) FROM {table}")).await
}
