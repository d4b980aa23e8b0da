//! A broken network between the inbox and its platform.

use std::time::Duration;

use server_harness::{
    Counts, Direction, Fault, FaultKind, FaultProxy, Moment, Plan, Random, Store, Storm, Weights,
    bytes, eventually, on_each_store, seed_of,
};

use crate::support::scene::Scene;

on_each_store! {
    a_file_arrives_once_through_each_kind_of_fault,
    everything_arrives_once_and_in_order_after_a_storm,
}

/// Begins the same storm, of the same files, again.
const SEED_VARIABLE: &str = "STORM_SEED";
/// How many files are sent into a storm, and how many faults happen, at the least.
const FILES: usize = 48;
const FAULTS: u64 = 30;
/// How many requests there are at the most until there was as much of everything.
const MOST_ROUNDS: u32 = 300;
const KINDS: [FaultKind; 6] = [
    FaultKind::Cut,
    FaultKind::Reset,
    FaultKind::Stall,
    FaultKind::HalfAnswer,
    FaultKind::Delay,
    FaultKind::Trickle,
];
/// The largest file, in bytes.
const LARGEST: u64 = 2 * 1024 * 1024;
/// How often each fault happens: few connections are spared, because those live long.
const WEIGHTS: Weights = Weights {
    pass: 1,
    refuse: 1,
    cut: 3,
    reset: 3,
    stall: 1,
    half_answer: 2,
    delay: 1,
    trickle: 1,
};

fn faults() -> [Fault; 15] {
    let middle = || Moment::Bytes(Direction::ToClient, 100_000);
    let answer = |path: &str| Moment::Answer(path.to_owned());
    let request = |path: &str| Moment::Request(path.to_owned());
    [
        Fault::Cut(middle()),
        Fault::Reset(middle()),
        Fault::Stall(middle()),
        Fault::Reset(Moment::AtOnce),
        Fault::Cut(answer("/activity")),
        Fault::Reset(answer("/content")),
        Fault::Stall(answer("/content")),
        Fault::Cut(request("/ack")),
        Fault::Reset(answer("/ack")),
        Fault::Stall(answer("/ack")),
        Fault::HalfAnswer("/activity".to_owned()),
        Fault::HalfAnswer("/content".to_owned()),
        Fault::HalfAnswer("/ack".to_owned()),
        Fault::Delay(Duration::from_millis(50)),
        Fault::Trickle {
            direction: Direction::ToClient,
            bytes: 1024,
            every: Duration::from_millis(50),
        },
    ]
}

async fn a_file_arrives_once_through_each_kind_of_fault(store: Store) {
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    let proxy = FaultProxy::start(server.address());
    let mut scene = Scene::begin(&client, &workspace, &proxy.url()).await;
    let inbox = scene.desk.run();
    for (n, fault) in (1..).zip(faults()) {
        let (kind, words) = (fault.kind(), format!("{fault:?}"));
        let before = proxy.counts().of(kind);
        proxy.set_plan(Plan::Times(2, fault));
        let uris = scene
            .upload(&client, [bytes(n, 300_000), bytes(n, 1)])
            .await;
        scene.say(&client, &words, &uris).await;
        eventually(&words, async || {
            (proxy.counts().of(kind) > before).then_some(())
        })
        .await;
        proxy.set_plan(Plan::Pass);
        scene.settle(&client, &inbox).await;
    }
    scene.finish(&client, inbox).await;
    scene.check(&client).await;
    scene.history.assert_nothing_is_repeated();
}

async fn everything_arrives_once_and_in_order_after_a_storm(store: Store) {
    let seed = seed_of(SEED_VARIABLE);
    let mut random = Random::from_seed(seed);
    let server = store.server().start();
    let (workspace, client) = server.workspace().await;
    let proxy = FaultProxy::start(server.address());
    let mut scene = Scene::begin(&client, &workspace, &proxy.url()).await;
    let inbox = scene.desk.run();
    let (mut rounds, mut uris) = (0, Vec::new());
    while !was_enough(&proxy.counts(), scene.ledger.taken()) {
        rounds += 1;
        assert!(
            rounds <= MOST_ROUNDS,
            "too little happened: {:?}",
            proxy.counts()
        );
        proxy.set_plan(Plan::Storm(Storm::from_seed(random.any(), WEIGHTS)));
        let files: Vec<_> = (0..=random.below(3))
            .map(|_| some_file(&mut random))
            .collect();
        uris.extend(scene.upload(&client, files).await);
        let mentioned: Vec<_> = (0..random.below(4))
            .map(|_| one_of(&uris, &mut random))
            .collect();
        scene
            .say(&client, &format!("message {rounds}"), &mentioned)
            .await;
        // The next round when something has come of this one.
        let before = (
            proxy.counts().faults(),
            scene.history.and(&inbox).events().count(),
        );
        eventually("something happens", async || {
            let now = (
                proxy.counts().faults(),
                scene.history.and(&inbox).events().count(),
            );
            (now != before).then_some(())
        })
        .await;
    }
    proxy.set_plan(Plan::Pass);
    scene.say(&client, "the end", &uris).await;
    scene.finish(&client, inbox).await;
    scene.check(&client).await;
    scene.history.assert_nothing_is_repeated();
    assert!(scene.history.lost().is_empty());
}

fn was_enough(counts: &Counts, files: usize) -> bool {
    let every_kind = KINDS.iter().all(|kind| counts.of(*kind) > 0);
    every_kind && counts.faults() >= FAULTS && files >= FILES
}

/// A file of any size up to the largest; small ones are as likely as large ones.
fn some_file(random: &mut Random) -> Vec<u8> {
    let length = match random.below(12) {
        0 => 1,
        1 => LARGEST,
        _ => {
            let bits = random.below(u64::from(LARGEST.ilog2()) + 1);
            1 + random.below(1 << bits)
        }
    };
    bytes(random.any(), usize::try_from(length).unwrap())
}

fn one_of(uris: &[String], random: &mut Random) -> String {
    let count = u64::try_from(uris.len()).unwrap();
    uris[usize::try_from(random.below(count)).unwrap()].clone()
}
