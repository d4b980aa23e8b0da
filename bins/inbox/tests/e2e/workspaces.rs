//! Several workspaces in one process.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::sync::Arc;

use server_harness::{
    Client, Ledger, Process, Server, Store, Workspace, bytes, eventually, on_each_store, text,
};

use crate::support::desk::{hasty, program, stop};
use crate::support::history::History;

on_each_store! {
    the_workspaces_of_a_settings_file_are_served_by_one_process,
    all_workspaces_that_are_registered_are_served_by_one_process,
}

/// How many.
const WORKSPACES: u64 = 3;
/// How many files are sent to each, in one request, beside the first.
const FILES: u64 = 5;

/// Sends files to each workspace.
async fn send(server: &Server, workspaces: &[Workspace]) -> Vec<(Arc<Ledger>, Client)> {
    let mut sent = Vec::new();
    for (n, workspace) in (1..).zip(workspaces) {
        let client = server.client(workspace);
        let ledger = Ledger::begin(&client, workspace).await;
        let files = (0..FILES).map(|m| bytes(n * 100 + m, 30_000));
        let answer = ledger.upload(&client, files).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        sent.push((Arc::new(ledger), client));
    }
    sent
}

/// Waits until all has arrived, stops the inbox, and looks into the folder of each workspace.
async fn finish(sent: &[(Arc<Ledger>, Client)], mut inbox: Process, base: &std::path::Path) {
    for (ledger, client) in sent {
        eventually("nothing is left to take", async || {
            let waiting = client.waiting(ledger.workspace()).await;
            waiting.is_empty().then_some(())
        })
        .await;
    }
    let expected: usize = sent.iter().map(|(ledger, _)| ledger.taken()).sum();
    eventually("every file is told of", async || {
        let told = History::default().and(&inbox).arrived().len();
        (told == expected).then_some(())
    })
    .await;
    stop(&mut inbox);
    let history = History::default().and(&inbox);
    history.assert_nothing_is_repeated();
    let arrived = history.arrived();
    for (ledger, _) in sent {
        let id = &ledger.workspace().id;
        let folder = base.join(id);
        ledger.check_folder(&folder);
        let files = ledger.taken_files();
        let told: BTreeMap<_, _> = arrived
            .values()
            .filter(|event| event["workspace_id"] == **id)
            .map(|event| (text(event, "uri"), text(event, "path")))
            .collect();
        assert_eq!(told.len(), files.len());
        for file in files.values() {
            let path = std::path::Path::new(&told[&file.uri]);
            assert_eq!(path.parent(), Some(&*folder));
        }
    }
}

async fn the_workspaces_of_a_settings_file_are_served_by_one_process(store: Store) {
    let server = store.server().start();
    let mut workspaces = Vec::new();
    for _ in 0..WORKSPACES {
        workspaces.push(server.workspace().await.0);
    }
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().canonicalize().unwrap();
    let mut settings = format!(
        "platform_url = {:?}\nstate_dir = {:?}\n",
        server.url(),
        base.join("state").to_str().unwrap()
    );
    for (n, workspace) in workspaces.iter().enumerate() {
        let (id, token) = (&workspace.id, &workspace.token);
        write!(
            settings,
            "[[workspace]]\nid = {id:?}\ndir = {:?}\n",
            base.join("files").join(id).to_str().unwrap()
        )
        .unwrap();
        if n == 0 {
            writeln!(settings, "token = {token:?}").unwrap();
        } else {
            let path = base.join(format!("token {n}"));
            fs::write(&path, token).unwrap();
            writeln!(settings, "token_file = {:?}", path.to_str().unwrap()).unwrap();
        }
    }
    let file = base.join("inbox.toml");
    fs::write(&file, settings).unwrap();
    let sent = send(&server, &workspaces).await;
    let inbox = hasty(program())
        .arg("run")
        .arg("--config")
        .arg(&file)
        .spawn();
    finish(&sent, inbox, &base.join("files")).await;
}

async fn all_workspaces_that_are_registered_are_served_by_one_process(store: Store) {
    let server = store.server().start();
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().canonicalize().unwrap();
    let state = base.join("state");
    let command = |command: &str| {
        let program = hasty(program()).set("INBOX_STATE_DIR", state.display());
        program.arg(command)
    };
    let mut workspaces = Vec::new();
    for _ in 0..WORKSPACES {
        let register = command("register").arg("--platform-url").arg(server.url());
        let (status, process) = register.run();
        assert!(status.success(), "{}", process.log());
        let id = process.stdout().trim().to_owned();
        let stored = fs::read(state.join(&id).join("registration.json")).unwrap();
        let token = text(&serde_json::from_slice(&stored).unwrap(), "token");
        workspaces.push(Workspace { id, token });
    }
    let sent = send(&server, &workspaces).await;
    let inbox = command("run").arg("--dir").arg(base.join("files")).spawn();
    finish(&sent, inbox, &base.join("files")).await;
}
