//! `inbox fetch`: files alone, until it is stopped or once.

use server_harness::{
    Direction, Fault, FaultProxy, Moment, Plan, Process, Store, bytes, on_each_store,
};

use crate::support::desk::stop;
use crate::support::scene::Scene;

on_each_store! {
    a_fetch_goes_on_until_it_is_stopped_and_leaves_messages_to_a_later_run,
    a_fetch_takes_all_that_waits_and_leaves_messages_to_a_later_run,
    a_fetch_without_a_server_exits_with_three,
    a_fetch_that_cannot_take_a_file_exits_with_three,
    a_fetch_exits_with_three_as_long_as_a_file_waits_that_is_too_large,
    a_fetch_that_cannot_ack_exits_with_three_and_the_next_one_acks,
}

/// Runs a fetch to its end, which must be of that code, and keeps what it told.
fn fetch(scene: &mut Scene, code: i32) -> Process {
    let (status, process) = scene.desk.command("fetch").arg("--once").run();
    assert_eq!(status.code(), Some(code), "{}", process.log());
    scene.history.note(&process);
    process
}

async fn a_fetch_goes_on_until_it_is_stopped_and_leaves_messages_to_a_later_run(store: Store) {
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    let mut scene = Scene::begin(&client, &workspace, server.url()).await;
    let mut inbox = scene.desk.command("fetch").spawn();
    scene.settle_files(&client, &inbox).await;
    let uris = scene
        .upload(&client, [bytes(1, 300_000), bytes(2, 1)])
        .await;
    scene.say(&client, "about both", &uris).await;
    scene.settle_files(&client, &inbox).await;
    stop(&mut inbox);
    scene.history.note(&inbox);
    scene.check_files(&client).await;
    let inbox = scene.desk.run();
    scene.finish(&client, inbox).await;
    scene.check(&client).await;
    scene.history.assert_nothing_is_repeated();
    let told: Vec<_> = scene.history.runs().iter().map(Vec::len).collect();
    assert_eq!(told, [3, 1]);
}

async fn a_fetch_takes_all_that_waits_and_leaves_messages_to_a_later_run(store: Store) {
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    let mut scene = Scene::begin(&client, &workspace, server.url()).await;
    let files = (1..=20).map(|n| bytes(n, usize::try_from(n).unwrap() * 40_000));
    let uris = scene.upload(&client, files).await;
    scene.say(&client, "about all", &uris).await;
    let more = scene.upload(&client, [bytes(99, 10)]).await;
    scene.say(&client, "about one", &more).await;

    fetch(&mut scene, 0);
    scene.check_files(&client).await;
    assert_eq!(scene.history.events().count(), 22);
    fetch(&mut scene, 0);
    let inbox = scene.desk.run();
    scene.finish(&client, inbox).await;
    scene.check(&client).await;
    scene.history.assert_nothing_is_repeated();
    let told: Vec<_> = scene.history.runs().iter().map(Vec::len).collect();
    assert_eq!(told, [22, 0, 2]);
}

async fn a_fetch_without_a_server_exits_with_three(store: Store) {
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    let proxy = FaultProxy::start(server.address());
    let mut scene = Scene::begin(&client, &workspace, &proxy.url()).await;
    proxy.stop_listening();
    let process = fetch(&mut scene, 3);
    let log = process.log();
    assert!(log.ends_with("inbox: something is left waiting\n"), "{log}");
    proxy.listen_again();
    fetch(&mut scene, 0);
    scene.check(&client).await;
}

async fn a_fetch_that_cannot_take_a_file_exits_with_three(store: Store) {
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    let proxy = FaultProxy::start(server.address());
    let mut scene = Scene::begin(&client, &workspace, &proxy.url()).await;
    let uris = scene.upload(&client, [bytes(1, 2_000_000)]).await;
    // Small files get through, and so does a little of a large one each time: far from all of it.
    let fault = Fault::Reset(Moment::Bytes(Direction::ToClient, 50_000));
    proxy.set_plan(Plan::Always(fault));
    fetch(&mut scene, 3);
    assert!(proxy.counts().faults() > 0);
    assert!(!scene.history.arrived().contains_key(&uris[0]));
    assert_eq!(scene.history.arrived().len(), 1);

    proxy.set_plan(Plan::Pass);
    fetch(&mut scene, 0);
    scene.check(&client).await;
    scene.history.assert_nothing_is_repeated();
}

async fn a_fetch_that_cannot_ack_exits_with_three_and_the_next_one_acks(store: Store) {
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    let proxy = FaultProxy::start(server.address());
    let mut scene = Scene::begin(&client, &workspace, &proxy.url()).await;
    let refused = Fault::Reset(Moment::Request("/ack".to_owned()));
    proxy.set_plan(Plan::Always(refused));
    fetch(&mut scene, 3);
    assert_eq!(scene.history.arrived().len(), 1);
    assert_eq!(client.waiting(&workspace).await.len(), 1);

    proxy.set_plan(Plan::Pass);
    fetch(&mut scene, 0);
    scene.check(&client).await;
    scene.history.assert_nothing_is_repeated();
}

async fn a_fetch_exits_with_three_as_long_as_a_file_waits_that_is_too_large(store: Store) {
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    let mut scene = Scene::begin(&client, &workspace, server.url()).await;
    let uris = scene.upload(&client, [bytes(1, 2_000_000)]).await;
    for _ in 0..2 {
        let program = scene.desk.command("fetch").arg("--once");
        let (status, process) = program.set("INBOX_MAX_FILE_BYTES", 1_000_000).run();
        assert_eq!(status.code(), Some(3), "{}", process.log());
        scene.history.note(&process);
    }
    assert_eq!(scene.history.lost()[&uris[0]]["reason"], "too_large");
    assert_eq!(client.waiting(&workspace).await.len(), 1);
    scene.history.assert_nothing_is_repeated();

    let process = fetch(&mut scene, 0);
    assert!(process.stdout().contains("file_arrived"));
    assert!(client.waiting(&workspace).await.is_empty());
}
