//! The data folder of the embedded store: where it is made, whose it is, and who is refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use uuid::Uuid;

use server_harness::{DataFolder, names_in};
use server_harness::{ServerBuilder, Store, Workspace, bytes, sha256};
use server_harness::{remember_secret, text};

/// A schema that no program of today knows.
pub(crate) const NEWER: &str = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) \
     VALUES (99, 'everything_else', '2999-01-01T00:00:00Z', '1')";

/// Runs a command of the server's first line as a person would, with the real values in it.
fn run_as_told(command: &str, folder: &Path) -> Value {
    let output = Command::new("sh")
        .args(["-c", command])
        .current_dir(folder)
        .output()
        .unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{command}: {answer}");
    serde_json::from_str(&answer).unwrap()
}

#[tokio::test]
async fn with_nothing_set_the_first_line_is_all_that_a_first_upload_needs() {
    let server = ServerBuilder::bare().set("BIND", "127.0.0.1:0").start();
    let folder = server.folder();
    let line = server.first_line();
    let data = folder.join("data");
    let expected = format!(
        "listening on http://{}, storing in SQLite in {}; ",
        server.address(),
        data.display()
    );
    assert!(line.starts_with(&expected), "{line}");
    assert!(data.join("pending-uploads.sqlite3").is_file());
    assert_eq!(data.metadata().unwrap().permissions().mode() & 0o777, 0o700);

    let (_, commands) = line.split_once("curl ").unwrap();
    let (register, upload) = commands.split_once(", then: curl ").unwrap();
    let id = Uuid::new_v4().to_string();
    let registered = run_as_told(
        &format!("curl -sS {}", register.replace("UUID", &id)),
        folder,
    );
    assert_eq!(registered["status"], "registered", "{registered}");
    let token = text(&registered, "auth_token");
    remember_secret(&token);
    fs::write(folder.join("hello.txt"), "hello").unwrap();
    let upload = upload.replace("UUID", &id).replace("AUTH_TOKEN", &token);
    let upload = upload.replace("@FILE", "@hello.txt");
    let uploaded = run_as_told(&format!("curl -sS {upload}"), folder);
    assert_eq!(uploaded["files"][0]["name"], "hello.txt", "{uploaded}");
    assert_eq!(uploaded["files"][0]["sha256"], sha256(b"hello"));

    let workspace = Workspace { id, token };
    let client = server.client(&workspace);
    assert_eq!(client.waiting(&workspace).await.len(), 1);
}

#[tokio::test]
async fn a_second_server_on_the_same_folder_says_so_and_ends() {
    let store = Store::sqlite();
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;

    let (status, second) = store.server().run();
    assert_eq!(status.code(), Some(1));
    let sentence = format!(
        "platform-server: the data folder {} is in use",
        folder_of(&store)
    );
    assert!(second.log().starts_with(&sentence), "{}", second.log());
    assert_eq!(second.log().lines().count(), 1, "{}", second.log());
    assert_eq!(second.stdout(), "");

    client.must_upload(&workspace, "a.txt", b"a").await;
    drop(server);
    let server = store.server().start();
    assert_eq!(server.client(&workspace).waiting(&workspace).await.len(), 1);
}

fn folder_of(store: &Store) -> String {
    store.place().rsplit(' ').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_folder_of_a_newer_version_is_refused_and_left_as_it_is() {
    let folder = DataFolder::create();
    let server = ServerBuilder::on(&folder.url()).start();
    let (workspace, client) = server.workspace().await;
    let large = bytes(70, 200_000);
    client.must_upload(&workspace, "a.bin", &large).await;
    drop(server);
    folder.execute(NEWER);

    for command in [None, Some("migrate")] {
        let builder = ServerBuilder::on(&folder.url());
        let builder = command.into_iter().fold(builder, ServerBuilder::arg);
        let (status, process) = builder.run();
        assert_eq!(status.code(), Some(1));
        let log = process.log();
        assert!(
            log.starts_with("platform-server: the data folder "),
            "{log}"
        );
        assert!(log.contains("was written by a newer version"), "{log}");
        assert_eq!(log.lines().count(), 1, "{log}");
        assert_eq!(process.stdout(), "");
    }
    assert_eq!(folder.files().len(), 1);
    assert_eq!(
        folder.value::<i64>("SELECT count(*) FROM pending_uploads"),
        1
    );
}

#[test]
fn a_folder_that_cannot_be_used_is_one_sentence() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, "somebody else's").unwrap();
    let garbage = parent.path().join("garbage");
    fs::create_dir(&garbage).unwrap();
    let database = garbage.join("pending-uploads.sqlite3");
    fs::write(&database, "no database at all, but long enough to be one").unwrap();
    for place in [&file, &file.join("below"), &garbage] {
        let builder = ServerBuilder::bare().set("BIND", "127.0.0.1:0");
        let (status, process) = builder.set("DATA_DIR", place.display()).run();
        let log = process.log();
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(log.starts_with("platform-server: cannot "), "{log}");
        assert!(log.contains(&place.display().to_string()), "{log}");
        assert_eq!(log.lines().count(), 1, "{log}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "somebody else's");
    assert!(
        fs::read_to_string(&database)
            .unwrap()
            .starts_with("no database")
    );
}

#[tokio::test]
async fn a_folder_is_migrated_when_it_is_opened_and_has_no_way_back() {
    let store = Store::sqlite();
    let migrate = |arguments: &[&str]| {
        let builder = store.server().arg("migrate");
        arguments
            .iter()
            .fold(builder, |builder, argument| builder.arg(argument))
            .run()
    };
    for _ in 0..2 {
        let (status, process) = migrate(&[]);
        assert!(status.success(), "{}", process.log());
        assert_eq!(process.stdout(), "the data folder is up to date\n");
    }
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    client.must_upload(&workspace, "a.txt", b"a").await;
    drop(server);

    let (status, process) = migrate(&["--down-to", "0"]);
    assert_eq!(status.code(), Some(1));
    assert!(
        process.log().contains("restore a backup"),
        "{}",
        process.log()
    );
    assert_eq!(store.recorded_files().await, 1);
}

#[tokio::test]
async fn what_stops_orderly_leaves_all_in_the_database_itself() {
    let folder = DataFolder::create();
    let log_is_empty = || {
        let log = folder.path().join("pending-uploads.sqlite3-wal");
        log.metadata().map_or(0, |found| found.len()) == 0
    };
    let (status, process) = ServerBuilder::on(&folder.url()).arg("migrate").run();
    assert!(status.success(), "{}", process.log());
    assert!(log_is_empty());
    for _ in 0..5 {
        let server = ServerBuilder::on(&folder.url()).start();
        let (workspace, client) = server.workspace().await;
        client.must_upload(&workspace, "a.txt", b"a").await;
        assert!(!log_is_empty());
        drop(server);
        assert!(log_is_empty());
    }
}

#[tokio::test]
async fn each_way_to_name_the_folder_leads_to_the_same_one() {
    let folder = DataFolder::create();
    let parent = folder.path().parent().unwrap().to_owned();
    let register = json!({"id": Uuid::new_v4().to_string(), "delivery_mode": "poll",
        "agent_card": {"name": "an agent"}});
    for (number, builder) in [
        ServerBuilder::bare().set("DATABASE_URL", folder.url()),
        ServerBuilder::bare().set("DATA_DIR", folder.path().display()),
        ServerBuilder::bare().arg(&format!("--data-dir={}/./data/", parent.display())),
        ServerBuilder::bare().arg(&format!("--database-url={}", folder.url())),
    ]
    .into_iter()
    .enumerate()
    {
        let server = builder.set("BIND", "127.0.0.1:0").start();
        let answer = server
            .anonymous()
            .post_json("/registry/register", &register)
            .await;
        if number == 0 {
            answer.secret("auth_token");
        }
        // A known id needs its token.
        let expected = if number == 0 { 200 } else { 401 };
        assert_eq!(answer.status, expected, "{answer:?}");
        assert_eq!(
            names_in(server.folder()).len(),
            2,
            "more than its output is there"
        );
    }
}

/// A data folder appears where a server runs, so that every server under test runs in a temporary
/// folder: the harness sees to it, and nobody else may start one.
#[test]
fn no_server_under_test_runs_in_the_source_tree() {
    // Spelled so that this file does not find itself.
    let binary = concat!("CARGO_BIN", "_EXE");
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let harness = package.join("../../crates/server-harness");
    let mut starters = Vec::new();
    let mut folders = vec![package.join("tests"), harness];
    while let Some(folder) = folders.pop() {
        for name in names_in(&folder) {
            let path = folder.join(name);
            if path.is_dir() {
                folders.push(path);
            } else if fs::read_to_string(&path).unwrap().contains(binary) {
                starters.push(path);
            }
        }
    }
    let [starter] = &*starters else {
        unreachable!("servers are started in more than one place: {starters:?}")
    };
    assert!(
        starter.ends_with("server-harness/src/binary.rs"),
        "{starter:?}"
    );
}
