//! `platform-server doctor`: what it says of a store, and that it only looks.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pg_cluster::TestDatabase;

use server_harness::DataFolder;
use server_harness::database::{db_value, migrate, migrated};
use server_harness::{ServerBuilder, bytes, sha256};

/// What a person at the terminal gets.
#[derive(Debug)]
struct Diagnosis {
    code: Option<i32>,
    lines: Vec<String>,
    complaint: String,
}

fn doctor(url: &str) -> Diagnosis {
    let (status, process) = ServerBuilder::on(url).arg("doctor").run();
    let shown = process.stdout();
    let complaint = process.log();
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(!complaint.contains("hunter2"), "{complaint}");
    Diagnosis {
        code: status.code(),
        lines: shown.lines().map(str::to_owned).collect(),
        complaint,
    }
}

impl Diagnosis {
    /// Nothing has to be done, and there is one line for each of these subjects.
    fn assert_well(&self, subjects: &[&str]) {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert_eq!(self.complaint, "", "{self:?}");
        self.assert_subjects(subjects);
        assert!(
            self.lines.iter().all(|line| line.starts_with("ok ")),
            "{self:?}"
        );
    }

    /// This subject alone is wrong.
    fn assert_wrong(&self, subject: &str, subjects: &[&str]) {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert_eq!(self.complaint.lines().count(), 1, "{self:?}");
        assert!(
            self.complaint
                .starts_with("platform-server: 1 of these checks"),
            "{self:?}"
        );
        self.assert_subjects(subjects);
        let wrong: Vec<_> = self
            .lines
            .iter()
            .filter(|line| !line.starts_with("ok "))
            .collect();
        assert_eq!(wrong.len(), 1, "{self:?}");
        assert!(
            wrong[0].starts_with(&format!("WRONG {subject} ")),
            "{self:?}"
        );
    }

    fn assert_subjects(&self, subjects: &[&str]) {
        let found: Vec<_> = self
            .lines
            .iter()
            .map(|line| line.split_whitespace().nth(1).unwrap())
            .collect();
        assert_eq!(found, subjects, "{self:?}");
    }

    fn line(&self, subject: &str) -> &str {
        let about = |line: &&String| line.split_whitespace().nth(1) == Some(subject);
        self.lines.iter().find(about).unwrap()
    }
}

const FOLDER_CHECKS: [&str; 5] = ["settings", "store", "tables", "clock", "disk"];
const POSTGRES_CHECKS: [&str; 5] = ["settings", "store", "tables", "disk", "clock"];

/// Every file below a folder, with its digest; but for what SQLite notes there of who reads.
fn contents(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else if !path.to_str().unwrap().ends_with("-shm") {
            found.insert(path.clone(), sha256(&fs::read(&path).unwrap()));
        }
    }
    found
}

#[test]
fn a_folder_that_is_not_there_is_well_and_is_not_made() {
    let folder = DataFolder::create();
    let diagnosis = doctor(&folder.url());
    diagnosis.assert_well(&["settings", "store", "disk"]);
    assert!(
        diagnosis
            .line("store")
            .contains("is made when the server first starts")
    );
    assert!(!folder.path().exists());
}

#[tokio::test]
async fn a_folder_in_use_and_an_idle_one_are_told_apart_and_left_as_they_are() {
    let folder = DataFolder::create();
    let server = ServerBuilder::on(&folder.url()).start();
    let (workspace, client) = server.workspace().await;
    client
        .must_upload(&workspace, "a.bin", &bytes(80, 200_000))
        .await;
    client.must_upload(&workspace, "a.txt", b"a").await;

    let diagnosis = doctor(&folder.url());
    diagnosis.assert_well(&FOLDER_CHECKS);
    assert!(diagnosis.line("store").contains("open by a running server"));
    client.must_upload(&workspace, "b.txt", b"b").await;
    assert_eq!(client.waiting(&workspace).await.len(), 3);
    drop(server);

    let before = contents(&folder.path());
    let diagnosis = doctor(&folder.url());
    diagnosis.assert_well(&FOLDER_CHECKS);
    assert!(diagnosis.line("store").contains("not in use"));
    assert_eq!(contents(&folder.path()), before);
}

#[test]
fn a_folder_of_a_newer_version_is_wrong() {
    let folder = DataFolder::create();
    drop(ServerBuilder::on(&folder.url()).start());
    folder.execute(crate::data_folder::NEWER);
    let before = contents(&folder.path());
    let diagnosis = doctor(&folder.url());
    diagnosis.assert_wrong("tables", &FOLDER_CHECKS);
    assert!(
        diagnosis
            .line("tables")
            .contains("written by a newer version")
    );
    assert_eq!(contents(&folder.path()), before);
}

#[test]
fn a_folder_whose_server_was_killed_is_well() {
    let folder = DataFolder::create();
    ServerBuilder::on(&folder.url()).start().kill();
    let diagnosis = doctor(&folder.url());
    diagnosis.assert_well(&FOLDER_CHECKS);
    assert!(diagnosis.line("store").contains("not in use"));
}

#[test]
fn what_is_no_folder_is_wrong() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, "somebody else's").unwrap();
    let diagnosis = doctor(&format!("sqlite://{}", file.display()));
    assert_eq!(diagnosis.code, Some(1), "{diagnosis:?}");
    assert!(
        diagnosis.line("store").starts_with("WRONG "),
        "{diagnosis:?}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), "somebody else's");
}

#[tokio::test]
async fn a_database_with_and_without_its_tables_is_told_apart_and_left_as_it_is() {
    const TABLES: &str = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    let with_password =
        |database: &TestDatabase| database.url().replace("postgres@", "postgres:hunter2@");

    let database = migrated();
    doctor(&with_password(&database)).assert_well(&POSTGRES_CHECKS);
    let tables: i64 = db_value(&database.url(), TABLES).await;

    migrate(&database.url(), &["--down-to", "1"]);
    let diagnosis = doctor(&with_password(&database));
    diagnosis.assert_wrong("tables", &POSTGRES_CHECKS);
    assert!(
        diagnosis
            .line("tables")
            .contains("uploads for workspaces that poll")
    );
    assert!(db_value::<i64>(&database.url(), TABLES).await < tables);

    let empty = TestDatabase::create();
    let diagnosis = doctor(&with_password(&empty));
    diagnosis.assert_wrong("tables", &POSTGRES_CHECKS);
    assert!(diagnosis.line("tables").contains("platform-server migrate"));
    assert_eq!(db_value::<i64>(&empty.url(), TABLES).await, 0);
}

#[test]
fn a_database_that_does_not_answer_is_wrong() {
    let diagnosis = doctor("postgres://user:hunter2@127.0.0.1:1/database");
    diagnosis.assert_wrong("store", &["settings", "store"]);
    assert!(
        diagnosis.line("store").contains("127.0.0.1:1/database"),
        "{diagnosis:?}"
    );
}

#[test]
fn settings_that_let_nobody_in_are_wrong() {
    let folder = DataFolder::create();
    let builder = ServerBuilder::on(&folder.url()).set("REGISTRATION", "admin");
    let (status, process) = builder.arg("doctor").run();
    assert_eq!(status.code(), Some(1));
    let shown = process.stdout();
    assert!(
        shown.starts_with("WRONG settings  no new workspace can register"),
        "{shown}"
    );
}

#[test]
fn a_wrong_setting_is_refused_as_the_server_refuses_it() {
    let builder = ServerBuilder::on("mysql://user:hunter2@h/d").arg("doctor");
    let (status, process) = builder.run();
    assert_eq!(status.code(), Some(2));
    assert_eq!(process.stdout(), "");
    assert_eq!(process.log().lines().count(), 1, "{}", process.log());
    assert!(!process.log().contains("hunter2"), "{}", process.log());
}
