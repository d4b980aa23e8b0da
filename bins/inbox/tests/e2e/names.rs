//! Files of every kind: names in all scripts, many at once, and as large as they may be.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;
use server_harness::{Store, TakenFile, bytes, files_in, on_each_store, sha256, text};

use crate::support::history::events;
use crate::support::scene::{Scene, uris};

on_each_store! {
    files_with_names_of_all_kinds_arrive_under_safe_ones,
    files_that_the_program_sends_keep_the_names_that_they_have_on_the_disk,
    a_name_that_is_longer_than_any_disk_takes_is_cut_and_keeps_its_ending,
    a_batch_of_sixty_four_files_arrives_whole,
    a_file_of_exactly_the_cap_arrives_where_the_inbox_takes_no_more_either,
}

/// Names as people write them, and what they are called on the disk behind the file's id.
const NAMES: [(&str, &str); 9] = [
    ("中文.docx", "__.docx"),
    ("中文中文", "____"),
    ("🎉🚀.png", "__.png"),
    ("👩‍👩‍👧.jpg", "_____.jpg"),
    ("it's 'quoted'.txt", "it_s__quoted_.txt"),
    ("-rf", "-rf"),
    ("--help", "--help"),
    (".hidden file", ".hidden_file"),
    ("a;b&c|d$(e)`f`.sh", "a_b_c_d__e__f_.sh"),
];
const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// Large enough that the server reads it in several pieces.
const CAP: usize = 8 * MIB;

/// A name of 80 characters and an ending, in 244 bytes; on the disk it has 84.
fn long_name() -> (String, String) {
    let chinese = "文".repeat(80) + ".pdf";
    (chinese, "_".repeat(80) + ".pdf")
}

fn names() -> Vec<(String, String)> {
    let names = NAMES
        .iter()
        .map(|(name, safe)| ((*name).to_owned(), (*safe).to_owned()));
    names.chain([long_name()]).collect()
}

/// The safe name of each file that has arrived, by its original one.
fn safe_names(scene: &Scene) -> BTreeMap<String, String> {
    let arrived = scene.history.arrived();
    let names = arrived.values().map(|event| {
        let path = text(event, "path");
        let (_, safe) = path.rsplit('/').next().unwrap().split_once('-').unwrap();
        (text(event, "original_name"), safe.to_owned())
    });
    names.collect()
}

async fn files_with_names_of_all_kinds_arrive_under_safe_ones(store: Store) {
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    let mut scene = Scene::begin(&client, &workspace, server.url()).await;
    let inbox = scene.desk.run();
    let files = (1..)
        .zip(names())
        .map(|(n, (name, _))| (name, bytes(n, 5_000 + usize::try_from(n).unwrap())));
    let answer = scene.ledger.upload_named(&client, files).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    scene.say(&client, "all names", &uris(&answer.json())).await;
    scene.finish(&client, inbox).await;
    scene.check(&client).await;
    scene.history.assert_nothing_is_repeated();
    let mut expected: BTreeMap<_, _> = names().into_iter().collect();
    expected.insert("0-0".to_owned(), "0-0".to_owned());
    assert_eq!(safe_names(&scene), expected);
}

async fn files_that_the_program_sends_keep_the_names_that_they_have_on_the_disk(store: Store) {
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    let mut scene = Scene::begin(&client, &workspace, server.url()).await;
    let inbox = scene.desk.run();
    let folder = tempfile::tempdir().unwrap();
    let mut sent = BTreeMap::new();
    let quotes = ("say \"hi\"\\.txt".to_owned(), "say__hi__.txt".to_owned());
    let names: Vec<_> = names().into_iter().chain([quotes]).collect();
    let mut program = scene.desk.command("send");
    for (n, (name, _)) in (1..).zip(&names) {
        let (path, data) = (folder.path().join(name), bytes(n, 700));
        fs::write(&path, &data).unwrap();
        sent.insert(name.clone(), data);
        program = program.arg(path);
    }
    let (status, process) = program.run();
    assert!(status.success(), "{}", process.log());
    let told = events(&process.stdout());
    assert_eq!(told.len(), sent.len());
    scene
        .ledger
        .note_others(told.iter().map(|line| taken(line, &sent)).collect());

    scene.finish(&client, inbox).await;
    scene.check(&client).await;
    let safe = safe_names(&scene);
    for (name, expected) in names {
        assert_eq!(safe[&name], expected);
    }
}

/// What the program says of a file that it has sent, compared with the file.
fn taken(line: &Value, sent: &BTreeMap<String, Vec<u8>>) -> (String, TakenFile) {
    let name = text(line, "original_name");
    let data = &sent[&name];
    assert_eq!(line["size"], data.len());
    assert_eq!(line["sha256"], sha256(data));
    let uri = text(line, "uri");
    let file = TakenFile {
        name,
        size: data.len(),
        sha256: sha256(data),
        mimetype: text(line, "mimetype"),
        uri: uri.clone(),
    };
    (uri.rsplit('/').next().unwrap().to_owned(), file)
}

async fn a_name_that_is_longer_than_any_disk_takes_is_cut_and_keeps_its_ending(store: Store) {
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    let mut scene = Scene::begin(&client, &workspace, server.url()).await;
    let (name, data) = ("文".repeat(3_000) + ".pdf", bytes(1, 100));
    let file_id = client.must_upload(&workspace, &name, &data).await;
    let inbox = scene.desk.run();
    let uri = format!("platform-pending:{}/{file_id}", workspace.id);
    scene
        .say(&client, "a long name", std::slice::from_ref(&uri))
        .await;
    scene.finish(&client, inbox).await;

    let arrived = scene.history.arrived();
    let event = &arrived[&uri];
    assert_eq!(text(event, "name"), "_".repeat(96) + ".pdf");
    let original = text(event, "original_name");
    assert!(
        name.starts_with(&original) && original.len() <= 255,
        "{original}"
    );
    scene.check_events(&arrived);
    let digests: BTreeSet<_> = files_in(&scene.desk.files()).into_values().collect();
    assert_eq!(
        digests,
        BTreeSet::from([sha256(&bytes(0, 10)), sha256(&data)])
    );
    assert!(client.waiting(&workspace).await.is_empty());
}

async fn a_batch_of_sixty_four_files_arrives_whole(store: Store) {
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    let mut scene = Scene::begin(&client, &workspace, server.url()).await;
    let inbox = scene.desk.run();
    let files = (1..=64).map(|n| bytes(n, 1 + usize::try_from(n * n).unwrap() * 20));
    let uris = scene.upload(&client, files).await;
    assert_eq!(uris.len(), 64);
    scene.say(&client, "all sixty-four", &uris).await;
    scene.finish(&client, inbox).await;
    scene.check(&client).await;
    scene.history.assert_nothing_is_repeated();
}

async fn a_file_of_exactly_the_cap_arrives_where_the_inbox_takes_no_more_either(store: Store) {
    let server = store.server().set("MAX_FILE_BYTES", CAP).start();
    let (workspace, client) = server.workspace().await;
    let mut scene = Scene::begin(&client, &workspace, server.url()).await;
    let program = scene.desk.command("run").set("INBOX_MAX_FILE_BYTES", CAP);
    let inbox = program.spawn();
    let refused = scene.ledger.upload(&client, [bytes(1, CAP + 1)]).await;
    assert_eq!(refused.unwrap().code(), "file_too_large");
    let uris = scene.upload(&client, [bytes(2, CAP)]).await;
    scene.say(&client, "the largest file", &uris).await;
    scene.finish(&client, inbox).await;
    scene.check(&client).await;
    scene.history.assert_nothing_is_repeated();
    assert_eq!(scene.history.arrived()[&uris[0]]["size"], CAP);
}
