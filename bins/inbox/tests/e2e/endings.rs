//! How an inbox ends, and how the next one goes on.

use std::io::{self, BufRead, BufReader};
use std::process::Command;
use std::time::Duration;

use server_harness::{
    Fault, FaultProxy, Moment, Plan, Random, Store, bytes, on_each_store, seed_of,
};
use tokio::time::sleep;

use crate::support::desk::stop;
use crate::support::history::event;
use crate::support::scene::Scene;

on_each_store! {
    an_inbox_that_is_told_to_stop_exits_with_zero_and_the_next_repeats_nothing,
    a_message_that_was_told_while_an_earlier_file_was_held_up_is_not_repeated,
    an_inbox_that_nobody_reads_any_more_ends_and_its_last_line_comes_again,
}

/// Begins the same sequence of moments again.
const SEED_VARIABLE: &str = "STOP_SEED";
/// How often an inbox is told to stop at least, how many of them must have told of something for the
/// test to mean anything, and how often one is stopped at the most until then.
const STOPS: u64 = 12;
const TALKATIVE: usize = 4;
const MOST_STOPS: u64 = 100;
/// How long an inbox lives at the most until it is told to stop, in milliseconds.
const LIFE: u64 = 300;

async fn an_inbox_that_is_told_to_stop_exits_with_zero_and_the_next_repeats_nothing(store: Store) {
    let mut random = Random::from_seed(seed_of(SEED_VARIABLE));
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    let mut scene = Scene::begin(&client, &workspace, server.url()).await;
    let taken = scene.ledger.taken_files().into_values();
    let mut uris: Vec<_> = taken.map(|file| file.uri).collect();
    let mut stops = 0;
    while stops < STOPS || scene.history.talkative_runs() < TALKATIVE {
        stops += 1;
        assert!(stops <= MOST_STOPS, "hardly anything was told");
        let files = [
            bytes(stops * 10, 400_000),
            bytes(stops * 10 + 1, 10),
            bytes(stops * 10 + 2, 70_000),
        ];
        uris.extend(scene.upload(&client, files).await);
        // Each mentions all files before it, so that nothing before it is still to be done when it is
        // told of.
        scene.say(&client, &format!("first {stops}"), &uris).await;
        scene.say(&client, &format!("second {stops}"), &uris).await;
        let mut inbox = scene.desk.run();
        inbox.wait_for_log("opening the inbox");
        sleep(Duration::from_millis(random.below(LIFE))).await;
        stop(&mut inbox);
        scene.history.note(&inbox);
    }
    let inbox = scene.desk.run();
    scene.finish(&client, inbox).await;
    scene.check(&client).await;
    scene.history.assert_nothing_is_repeated();
}

async fn a_message_that_was_told_while_an_earlier_file_was_held_up_is_not_repeated(store: Store) {
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    let proxy = FaultProxy::start(server.address());
    let mut scene = Scene::begin(&client, &workspace, &proxy.url()).await;
    proxy.set_plan(Plan::Always(Fault::Cut(Moment::Request(
        "/content".to_owned(),
    ))));
    scene.say(&client, "about nothing", &[]).await;
    let mut inbox = scene.desk.run();
    inbox.wait_for_line("a message", |line| event(line)["event"] == "message");
    stop(&mut inbox);
    scene.history.note(&inbox);
    assert!(scene.history.arrived().is_empty());

    proxy.set_plan(Plan::Pass);
    let inbox = scene.desk.run();
    scene.finish(&client, inbox).await;
    scene.check(&client).await;
    scene.history.assert_nothing_is_repeated();
}

async fn an_inbox_that_nobody_reads_any_more_ends_and_its_last_line_comes_again(store: Store) {
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    let mut scene = Scene::begin(&client, &workspace, server.url()).await;
    let (mut inbox, stdout) = scene.desk.command("run").spawn_piped();
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    assert_eq!(event(&line)["event"], "file_arrived");
    scene.history.note_lines(&line);

    let uris = scene.upload(&client, [bytes(1, 5_000)]).await;
    scene.say(&client, "to nobody", &uris).await;
    assert_eq!(inbox.wait().code(), Some(1));
    let log = inbox.log();
    assert!(log.contains("stdout cannot be written to"), "{log}");

    let inbox = scene.desk.run();
    scene.finish(&client, inbox).await;
    scene.check(&client).await;
    scene.history.assert_nothing_is_repeated();
}

#[test]
fn what_nobody_can_be_told_does_not_change_the_exit_code() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_inbox"));
    let status = command.arg("--no-such-option").stderr(writer).status();
    assert_eq!(status.unwrap().code(), Some(2));
}
