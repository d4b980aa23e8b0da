//! A server that is killed again and again, at any moment, under uploads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::watch;
use tokio::time::sleep;

use server_harness::{
    Client, Ledger, Random, ServerBuilder, Store, Workspace, bytes, on_each_store, seed_of,
};

on_each_store! {
    a_server_that_is_killed_again_and_again_keeps_every_promise,
}

/// Begins the same sequence of moments and sizes again.
const SEED_VARIABLE: &str = "KILL_SEED";
/// How many kills there are at least, and at most when few uploads get through in between.
const KILLS: u32 = 25;
const MOST_KILLS: u32 = 200;
/// How many files must have been taken, and how many uploads cut off, for the test to mean something.
const TAKEN: usize = 100;
const CUT_OFF: u32 = 15;
/// One start in so many is cut off before the server can have said where it listens.
const EARLY: u32 = 5;
/// How long a server that listens lives at most, and how long one does that is still starting, in
/// milliseconds.
const LIFE: u64 = 400;
const EARLY_LIFE: u64 = 100;
const UPLOADERS: u64 = 6;
const KIB: usize = 1024;

async fn a_server_that_is_killed_again_and_again_keeps_every_promise(store: Store) {
    let seed = seed_of(SEED_VARIABLE);
    let mut random = Random::from_seed(seed);
    let server = builder(&store).start();
    let (workspace, client) = server.workspace().await;
    let ledger = Arc::new(Ledger::begin(&client, &workspace).await);
    drop(server);

    let (living, _) = watch::channel(None);
    let cut_off = Arc::new(AtomicU32::new(0));
    let uploaders: Vec<_> = (1..=UPLOADERS)
        .map(|number| {
            let random = Random::from_seed(seed + number);
            let (ledger, cut_off) = (Arc::clone(&ledger), Arc::clone(&cut_off));
            tokio::spawn(upload(living.subscribe(), ledger, cut_off, random))
        })
        .collect();
    let mut kills = 0;
    while kills < KILLS || ledger.taken() < TAKEN || cut_off.load(Ordering::Relaxed) < CUT_OFF {
        kills += 1;
        assert!(kills <= MOST_KILLS, "hardly anything was taken or cut off");
        if kills % EARLY == 0 {
            die_early(builder(&store), &mut random).await;
        } else {
            live_and_die(builder(&store), &mut random, &living, &workspace).await;
        }
    }
    // Without anybody who says where a server is, uploaders end.
    drop(living);
    for uploader in uploaders {
        uploader.await.unwrap();
    }

    let server = builder(&store).start();
    ledger.check(&server.client(&workspace)).await;
    store.wait_until_nothing_is_staged().await;
}

/// A server that sweeps soon what dead ones have left.
fn builder(store: &Store) -> ServerBuilder {
    store
        .server()
        .set("IDLE_TIMEOUT_SECS", 1)
        .set("STAGING_LEASE_SECS", 2)
        .set("SWEEP_INTERVAL_SECS", 1)
}

/// Kills a server while it takes uploads.
async fn live_and_die(
    builder: ServerBuilder,
    random: &mut Random,
    living: &watch::Sender<Option<Client>>,
    workspace: &Workspace,
) {
    let server = builder.start();
    living.send_replace(Some(server.client(workspace)));
    sleep(Duration::from_millis(random.below(LIFE))).await;
    // Nobody begins anything with a server that is dead, or they would do nothing else.
    living.send_replace(None);
    server.kill();
}

/// Kills a server while it starts.
async fn die_early(builder: ServerBuilder, random: &mut Random) {
    let mut process = builder.spawn();
    sleep(Duration::from_millis(random.below(EARLY_LIFE))).await;
    process.signal(Signal::KILL);
    process.wait();
}

/// Uploads to whichever server lives until there will be none any more, and counts the uploads that
/// were cut off.
async fn upload(
    mut living: watch::Receiver<Option<Client>>,
    ledger: Arc<Ledger>,
    cut_off: Arc<AtomicU32>,
    mut random: Random,
) {
    let mut next = async || {
        let found = living.wait_for(Option::is_some).await.ok()?;
        found.clone()
    };
    while let Some(client) = next().await {
        match ledger.upload(&client, some_files(&mut random)).await {
            Ok(answer) => assert_eq!(answer.status, 200, "{answer:?}"),
            Err(_) => {
                cut_off.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// 1 KB, 100 KB, 3 MB, or a few files of all kinds.
fn some_files(random: &mut Random) -> Vec<Vec<u8>> {
    let lengths: &[usize] = match random.below(10) {
        0..=3 => &[KIB],
        4..=6 => &[100 * KIB],
        7 | 8 => &[3 * KIB * KIB],
        _ => &[KIB, 1500 * KIB, 100 * KIB, 300 * KIB],
    };
    let file = |length: &usize| bytes(random.any(), *length);
    lengths.iter().map(file).collect()
}
