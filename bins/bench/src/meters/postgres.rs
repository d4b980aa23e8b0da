//! What a database has done, as `pg_stat_statements` and the write-ahead log tell it.

use std::collections::BTreeMap;

use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};

use crate::error::BenchError;
use crate::meters::process::cpu_of_family;

/// Everything that was run in one database; not what is asked here, which is run in another one.
const STATEMENTS: &str = "\
    SELECT s.query, sum(s.calls)::float8 FROM pg_stat_statements s \
    JOIN pg_database d ON d.oid = s.dbid WHERE d.datname = $1 GROUP BY s.query";
const WAL_BYTES: &str = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8";
const CONNECTIONS: &str = "\
    SELECT count(*)::float8, (count(*) FILTER (WHERE state <> 'idle'))::float8 \
    FROM pg_stat_activity WHERE datname = $1";

/// A database that is watched from another one of its cluster.
#[derive(Debug)]
pub(crate) struct Database {
    name: String,
    postmaster: u32,
    client: Client,
    driver: JoinHandle<()>,
}

/// What it has done since the cluster began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DatabaseReading {
    pub(crate) cpu_seconds: f64,
    pub(crate) statements: f64,
    pub(crate) wal_bytes: u64,
}

/// A statement, without its values, and how often it was run for each turn.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Statement {
    pub(crate) text: String,
    pub(crate) calls: f64,
}

impl Database {
    /// Watches the database `name` of the cluster whose first process that is, through `admin_url`.
    pub(crate) async fn watch(
        admin_url: &str,
        name: &str,
        postmaster: u32,
    ) -> Result<Self, BenchError> {
        let (client, connection) = tokio_postgres::connect(admin_url, NoTls).await?;
        // What is wrong with the connection is told to whoever asks next.
        let driver = tokio::spawn(async move { drop(connection.await) });
        client
            .batch_execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
            .await?;
        Ok(Self {
            name: name.to_owned(),
            postmaster,
            client,
            driver,
        })
    }

    /// Reads what it has done.
    pub(crate) async fn read(&self) -> Result<DatabaseReading, BenchError> {
        let wal: f64 = self.client.query_one(WAL_BYTES, &[]).await?.get(0);
        Ok(DatabaseReading {
            cpu_seconds: cpu_of_family(self.postmaster)?,
            statements: self.statements().await?.values().sum(),
            wal_bytes: whole(wal),
        })
    }

    /// How often each statement was run.
    pub(crate) async fn statements(&self) -> Result<BTreeMap<String, f64>, BenchError> {
        let rows = self.client.query(STATEMENTS, &[&self.name]).await?;
        Ok(rows
            .iter()
            .map(|row| (row.get(0), row.get::<_, f64>(1)))
            .collect())
    }

    /// How many connections it has, and how many of them do something.
    pub(crate) async fn connections(&self) -> Result<(f64, f64), BenchError> {
        let row = self.client.query_one(CONNECTIONS, &[&self.name]).await?;
        Ok((row.get(0), row.get(1)))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// The statements between two readings, most often run first, for each of so many turns.
pub(crate) fn statements_between(
    before: &BTreeMap<String, f64>,
    after: &BTreeMap<String, f64>,
    turns: u64,
) -> Vec<Statement> {
    let mut statements: Vec<_> = after
        .iter()
        .map(|(text, calls)| Statement {
            text: text.split_whitespace().collect::<Vec<_>>().join(" "),
            calls: each_turn(calls - before.get(text).unwrap_or(&0.0), turns),
        })
        .filter(|statement| statement.calls > 0.0)
        .collect();
    statements.sort_by(|one, other| other.calls.total_cmp(&one.calls));
    statements
}

#[expect(
    clippy::cast_precision_loss,
    reason = "figures have few significant digits"
)]
fn each_turn(calls: f64, turns: u64) -> f64 {
    calls / turns as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a position in the log is a whole number that is not negative"
)]
fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_run_before_does_not_count() {
        let before = BTreeMap::from([("a".to_owned(), 5.0), ("b\n  c".to_owned(), 1.0)]);
        let after = BTreeMap::from([
            ("a".to_owned(), 5.0),
            ("b\n  c".to_owned(), 21.0),
            ("d".to_owned(), 5.0),
        ]);
        let expected = [("b c", 2.0), ("d", 0.5)].map(|(text, calls)| Statement {
            text: text.to_owned(),
            calls,
        });
        assert_eq!(statements_between(&before, &after, 10), expected);
    }
}
