//! The first minutes: register, run, send, look; with nothing but the state folder in common.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};
use server_harness::{
    Client, Program, Server, Store, assert_no_secret_in, bytes, eventually, files_in,
    on_each_store, remember_secret, sha256, text,
};
use tempfile::TempDir;

use crate::support::desk::{program, stop};
use crate::support::history::events;

on_each_store! {
    what_is_sent_arrives_with_nothing_but_the_state_folder_in_common,
    a_workspace_of_somebody_else_is_left_as_it_is_by_an_admin_who_mistypes_an_id,
    the_token_is_stored_for_its_owner_alone_and_kept_when_the_id_is_registered_again,
}

/// The program, which knows where its state is, and nothing else.
fn inbox(state: &Path, command: &str) -> Program {
    program()
        .set("INBOX_STATE_DIR", state.display())
        .arg(command)
}

/// Runs a command, which must succeed, and answers what it printed.
fn run(program: Program) -> String {
    let (status, process) = program.run();
    assert_eq!(status.code(), Some(0), "{}", process.log());
    assert_no_secret_in(&process.log());
    assert_no_secret_in(&process.stdout());
    process.stdout()
}

fn register(state: &Path, server: &Server) -> Program {
    inbox(state, "register")
        .arg("--platform-url")
        .arg(server.url())
}

fn new_state() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// What is stored of a workspace.
fn registration(state: &Path, id: &str) -> Value {
    let stored = fs::read(state.join(id).join("registration.json")).unwrap();
    let stored: Value = serde_json::from_slice(&stored).unwrap();
    remember_secret(&text(&stored, "token"));
    stored
}

async fn what_is_sent_arrives_with_nothing_but_the_state_folder_in_common(store: Store) {
    let server = store.server().start();
    let state = new_state();
    let state = &state.path().join("not there yet");
    let id = run(register(state, &server)).trim().to_owned();
    registration(state, &id);
    assert_eq!(status(state)["waiting"]["files"], 0);

    let folder = tempfile::tempdir().unwrap();
    let data: [Vec<u8>; 3] = [bytes(1, 200_000), bytes(2, 1), bytes(3, 3_000)];
    let paths = [
        folder.path().join("a picture.png"),
        folder.path().join("b.txt"),
    ];
    for (path, data) in paths.iter().zip(&data) {
        fs::write(path, data).unwrap();
    }
    let sending = inbox(state, "send").arg(&paths[0]).arg("-").arg(&paths[1]);
    let sent = events(&run(sending
        .arg("--name")
        .arg("from stdin.pdf")
        .stdin(data[2].clone())));
    let names: Vec<_> = sent
        .iter()
        .map(|line| text(line, "original_name"))
        .collect();
    assert_eq!(names, ["a picture.png", "from stdin.pdf", "b.txt"]);
    let types: Vec<_> = sent.iter().map(|line| text(line, "mimetype")).collect();
    assert_eq!(types, ["image/png", "application/pdf", "text/plain"]);
    assert_eq!(status(state)["waiting"]["files"], 3);
    assert_eq!(status(state)["cursor"], Value::Null);

    let mut running = inbox(state, "run").spawn();
    eventually("all is acked and its cursor moved", async || {
        let status = status(state);
        (status["arrived"] == 3 && status["unacked"] == 0 && status["cursor"]["seq"] == 3)
            .then_some(())
    })
    .await;
    let told = events(&running.stdout());
    assert_eq!(facts(&told), facts(&sent));
    assert!(
        told.iter().all(|event| event["event"] == "file_arrived"),
        "{told:?}"
    );
    let there = files_in(&running.folder().join("inbox"));
    let digests: BTreeSet<_> = there.values().cloned().collect();
    assert_eq!(digests, data.iter().map(|data| sha256(data)).collect());
    assert_eq!(there.len(), 3);
    stop(&mut running);
    look_at_the_status(state, &id, &server);
}

/// What is said of each file, here and there.
fn facts(lines: &[Value]) -> BTreeSet<String> {
    let keys = [
        "workspace_id",
        "uri",
        "name",
        "original_name",
        "mimetype",
        "size",
        "sha256",
    ];
    let fact = |line: &Value| keys.map(|key| line[key].to_string()).join(" ");
    lines.iter().map(fact).collect()
}

/// What `inbox status` says of the one workspace, to programs.
fn status(state: &Path) -> Value {
    serde_json::from_str(&run(inbox(state, "status").arg("--json"))).unwrap()
}

fn look_at_the_status(state: &Path, id: &str, server: &Server) {
    let status = status(state);
    assert_eq!(status["workspace_id"], id);
    assert_eq!(status["platform_url"], format!("{}/", server.url()));
    for (key, expected) in [
        ("arrived", 3),
        ("lost", 0),
        ("unacked", 0),
        ("unconfirmed", 0),
    ] {
        assert_eq!(status[key], expected, "{key}");
    }
    assert_eq!(status["waiting"]["bytes"], 0);
    assert_eq!(status["waiting_error"], Value::Null);
    let told = run(inbox(state, "status"));
    for words in [id, "3 files", "row 3", "0 files, 0 bytes"] {
        assert!(told.contains(words), "{words}: {told}");
    }
}

async fn the_token_is_stored_for_its_owner_alone_and_kept_when_the_id_is_registered_again(
    store: Store,
) {
    let server = store.server().start();
    let state = new_state();
    let state = &state.path().join("state");
    let id = run(register(state, &server)).trim().to_owned();
    let stored = registration(state, &id);
    assert_eq!(stored["workspace_id"], id);
    for path in [
        state.clone(),
        state.join(&id),
        state.join(&id).join("registration.json"),
    ] {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{}", path.display());
    }

    let again = register(state, &server).arg("--workspace-id").arg(&id);
    assert_eq!(run(again).trim(), id);
    assert_eq!(registration(state, &id), stored);
    let workspace = server_harness::Workspace {
        id: id.clone(),
        token: text(&stored, "token"),
    };
    assert!(
        server
            .client(&workspace)
            .waiting(&workspace)
            .await
            .is_empty()
    );

    // Elsewhere nobody has the token, and nobody gets it.
    let elsewhere = new_state();
    let (status, process) = register(elsewhere.path(), &server)
        .arg("--workspace-id")
        .arg(&id)
        .run();
    assert_eq!(status.code(), Some(1), "{}", process.log());
    assert!(
        process.log().contains("the id is taken"),
        "{}",
        process.log()
    );
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

async fn a_workspace_of_somebody_else_is_left_as_it_is_by_an_admin_who_mistypes_an_id(
    store: Store,
) {
    const ADMIN: &str = "the-token-of-the-admin-of-this-test";
    remember_secret(ADMIN);
    let server = store.server().set("ADMIN_TOKEN", ADMIN);
    let server = server.set("REGISTRATION", "admin").start();
    let admin = Client::new(server.url().to_owned(), Some(ADMIN));
    let id = "7c08b03a-721d-44b4-813e-bb09995bb6d6";
    let body = json!({"id": id, "delivery_mode": "push", "url": "https://agent.example/"});
    let answer = admin.post_json("/registry/register", &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");

    let state = new_state();
    let with_id = |id: &str| {
        let program = register(state.path(), &server).set("INBOX_ADMIN_TOKEN", ADMIN);
        program.arg("--workspace-id").arg(id)
    };
    let (status, process) = with_id(id).run();
    let log = process.log();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("hands a token out only once"), "{log}");
    assert_no_secret_in(&log);
    assert_eq!(fs::read_dir(state.path()).unwrap().count(), 0);
    let answer = admin
        .post_json("/registry/register", &json!({ "id": id }))
        .await;
    assert_eq!(answer.json()["delivery_mode"], "push", "{answer:?}");

    let free = "7c08b03a-721d-44b4-813e-bb09995bb6d7";
    assert_eq!(run(with_id(free)).trim(), free);
    registration(state.path(), free);
}
