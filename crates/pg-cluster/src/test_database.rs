//! A fresh database for a test, in the cluster that all tests share.

use std::env;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::sql::{run, with_database};
use crate::{ClusterError, Programs};

/// The variable in which `cargo xtask test` tells the tests the URL of their cluster.
pub const TEST_URL_VARIABLE: &str = "TEST_POSTGRES_URL";

/// A database of a test's own, which is dropped with this value, whoever is still connected.
#[derive(Debug)]
pub struct TestDatabase {
    programs: Programs,
    admin_url: String,
    name: String,
}

impl TestDatabase {
    /// Makes an empty database in the cluster that `TEST_POSTGRES_URL` names.
    ///
    /// # Panics
    /// When the variable is not set, or when the database cannot be made: a test never skips
    /// silently.
    pub fn create() -> Self {
        Self::from_template("template1")
    }

    /// Makes a database that starts as a copy of this one, to which nobody may be connected.
    ///
    /// # Panics
    /// When the copy cannot be made.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self::from_template(&self.name)
    }

    /// The database's URL.
    pub fn url(&self) -> String {
        with_database(&self.admin_url, &self.name)
    }

    /// The database's name, which no other test has.
    pub fn name(&self) -> &str {
        &self.name
    }

    #[expect(
        clippy::panic,
        reason = "a test that has no database fails with a sentence that says what to do"
    )]
    fn from_template(template: &str) -> Self {
        let Ok(admin_url) = env::var(TEST_URL_VARIABLE) else {
            panic!(
                "{TEST_URL_VARIABLE} is not set: run `cargo xtask test`, which starts a cluster"
            );
        };
        match Self::make(admin_url, template) {
            Ok(database) => database,
            Err(error) => panic!("cannot make a test database: {error}"),
        }
    }

    fn make(admin_url: String, template: &str) -> Result<Self, ClusterError> {
        let programs = Programs::find()?;
        let name = unique_name("test");
        let statement = format!("CREATE DATABASE {name} TEMPLATE {template}");
        run(&programs, &admin_url, &statement)?;
        Ok(Self {
            programs,
            admin_url,
            name,
        })
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // A database that cannot be dropped goes with its cluster.
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        drop(run(&self.programs, &self.admin_url, &statement));
    }
}

/// A name that no other database has, made of letters, digits and `_`.
pub(crate) fn unique_name(prefix: &str) -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = since.unwrap_or_default().as_nanos();
    format!("{prefix}_{}_{nanos:x}_{number}", process::id())
}
