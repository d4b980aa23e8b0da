//! Two inboxes on one workspace at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use server_harness::{Client, Process, Store, bytes, eventually, files_in, on_each_store, text};

use crate::support::desk::{Desk, stop};
use crate::support::messages::{check_messages, messages};
use crate::support::scene::Scene;

on_each_store! {
    two_inboxes_that_share_a_folder_put_each_file_there_once,
    two_inboxes_with_folders_of_their_own_leave_no_file_behind,
}

/// How many requests there are, while both inboxes run.
const REQUESTS: u64 = 12;

/// Sends files, some of them large, and after each request a message about them.
async fn send(scene: &Scene, client: &Client) {
    for n in 1..=REQUESTS {
        let length = if n % 4 == 0 { 1_500_000 } else { 20_000 };
        let files = [bytes(n * 10, length), bytes(n * 10 + 1, 1)];
        let uris = scene.upload(client, files).await;
        scene.say(client, &format!("message {n}"), &uris).await;
    }
}

async fn two_inboxes_that_share_a_folder_put_each_file_there_once(store: Store) {
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    let mut one = Scene::begin(&client, &workspace, server.url()).await;
    let desk = Arc::new(Desk::sharing_files_of(&one.desk));
    let mut two = Scene::of(Arc::clone(&one.ledger), desk);
    let (first, second) = (one.desk.run(), two.desk.run());
    send(&one, &client).await;
    one.finish(&client, first).await;
    two.finish(&client, second).await;
    for scene in [&one, &two] {
        scene.check(&client).await;
        scene.history.assert_nothing_is_repeated();
        assert_eq!(scene.history.lost(), BTreeMap::new());
    }
}

async fn two_inboxes_with_folders_of_their_own_leave_no_file_behind(store: Store) {
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    let mut one = Scene::begin(&client, &workspace, server.url()).await;
    let desk = Arc::new(Desk::new(server.url(), &workspace));
    let mut two = Scene::of(Arc::clone(&one.ledger), desk);
    let mut first = one.desk.run();
    one.settle(&client, &first).await;
    let before = one.ledger.taken();
    let mut second = two.desk.run();
    // From then on the second one tells of each file, be it lost to the first.
    second.wait_for_log("the feed is read from its beginning");
    send(&one, &client).await;
    let taken = one.ledger.taken();
    finish_with_losses(&mut one, &client, &mut first, taken).await;
    finish_with_losses(&mut two, &client, &mut second, taken - before).await;

    let mut there = BTreeSet::new();
    for scene in [&one, &two] {
        let arrived = scene.history.arrived();
        scene.check_events(&arrived);
        let digests: BTreeSet<_> = files_in(&scene.desk.files()).into_values().collect();
        assert_eq!(digests.len(), arrived.len(), "something is there twice");
        there.extend(digests);
        for (uri, event) in scene.history.lost() {
            assert_eq!(event["reason"], "gone", "{uri}");
            assert!(!arrived.contains_key(&uri), "{uri} is lost and there");
        }
        check_messages(&messages(&client, &workspace).await, &scene.history);
        scene.history.assert_nothing_is_repeated();
    }
    let taken = one.ledger.taken_files();
    let sent: BTreeSet<_> = taken.values().map(|file| file.sha256.clone()).collect();
    assert_eq!(there, sent);
    assert!(client.waiting(&workspace).await.is_empty());
}

/// Waits until the inbox has told of every message, and of so many files, be they here or elsewhere.
async fn finish_with_losses(scene: &mut Scene, client: &Client, inbox: &mut Process, taken: usize) {
    let feed = messages(client, scene.workspace()).await;
    let feed: BTreeSet<_> = feed.iter().map(|row| text(row, "id")).collect();
    eventually("everything is told of", async || {
        let history = scene.history.and(inbox);
        let files = history.arrived().len() + history.lost().len();
        (history.messages() == feed && files == taken).then_some(())
    })
    .await;
    stop(inbox);
    scene.history.note(inbox);
}
