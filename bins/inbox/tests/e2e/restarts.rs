//! Servers and inboxes that end and start again in the middle of everything.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use server_harness::{
    Client, FaultProxy, Ledger, Plan, Process, Random, Server, ServerBuilder, Store, Storm,
    Weights, assert_no_secret_in, bytes, on_each_store, seed_of,
};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::support::messages::try_to_say;
use crate::support::scene::{Scene, uris};

on_each_store! {
    everything_arrives_though_the_server_is_killed_and_stopped_again_and_again,
    everything_arrives_though_the_inbox_is_killed_again_and_again,
    everything_arrives_though_both_are_killed_again_and_again_in_a_storm,
}

/// Begins the same sequence of moments and sizes again.
const SEED_VARIABLE: &str = "RESTART_SEED";
/// How often something ends at least, and how many files must have been taken and how many processes
/// of the inbox have told of something for the test to mean anything.
const ENDS: u32 = 12;
const FILES: usize = 40;
const TALKATIVE: usize = 3;
/// How often something ends at the most until then.
const MOST_ENDS: u32 = 200;
/// How long everything lives at the most until something ends, in milliseconds.
const LIFE: u64 = 400;
const UPLOADERS: u64 = 2;
/// How long an uploader rests at the most, in milliseconds.
const REST: u64 = 60;

/// What ends.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Server(Signal),
    Inbox,
}

/// How the network is meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weather {
    Calm,
    Storm,
}

const OF_SERVER: [Victim; 2] = [Victim::Server(Signal::KILL), Victim::Server(Signal::TERM)];
const OF_BOTH: [Victim; 4] = [
    Victim::Server(Signal::KILL),
    Victim::Inbox,
    Victim::Server(Signal::TERM),
    Victim::Inbox,
];

async fn everything_arrives_though_the_server_is_killed_and_stopped_again_and_again(store: Store) {
    let scene = live_through(&store, &OF_SERVER, Weather::Calm).await;
    assert_eq!(scene.history.runs().len(), 2);
}

async fn everything_arrives_though_the_inbox_is_killed_again_and_again(store: Store) {
    live_through(&store, &[Victim::Inbox], Weather::Calm).await;
}

async fn everything_arrives_though_both_are_killed_again_and_again_in_a_storm(store: Store) {
    live_through(&store, &OF_BOTH, Weather::Storm).await;
}

/// A workspace's world, of which things end.
struct World<'a> {
    store: &'a Store,
    server: Option<Server>,
    proxy: FaultProxy,
    living: watch::Sender<Option<Client>>,
    scene: Scene,
    inbox: Process,
}

async fn live_through(store: &Store, victims: &[Victim], weather: Weather) -> Scene {
    let seed = seed_of(SEED_VARIABLE);
    let mut random = Random::from_seed(seed);
    let mut world = World::begin(store).await;
    let uploaders: Vec<_> = (1..=UPLOADERS)
        .map(|n| {
            let ledger = Arc::clone(&world.scene.ledger);
            let random = Random::from_seed(seed.wrapping_add(n));
            tokio::spawn(upload(world.living.subscribe(), ledger, random))
        })
        .collect();
    let mut ends = 0;
    while ends < ENDS || !world.was_enough(victims) {
        ends += 1;
        assert!(ends <= MOST_ENDS, "hardly anything was sent or told");
        if weather == Weather::Storm {
            let faults = Storm::from_seed(random.any(), Weights::default());
            world.proxy.set_plan(Plan::Storm(faults));
        }
        sleep(Duration::from_millis(random.below(LIFE))).await;
        let victim = random.below(victims.len() as u64);
        world.end(victims[usize::try_from(victim).unwrap()]);
    }
    // Without anybody who says where a server is, uploaders end.
    world.living.send_replace(None);
    world.living = watch::channel(None).0;
    for uploader in uploaders {
        uploader.await.unwrap();
    }
    let storms = world.proxy.counts().faults() > 0;
    assert_eq!(storms, weather == Weather::Storm);
    world.finish().await
}

/// A server that sweeps soon what dead ones have left.
fn builder(store: &Store) -> ServerBuilder {
    store
        .server()
        .set("IDLE_TIMEOUT_SECS", 1)
        .set("STAGING_LEASE_SECS", 2)
        .set("SWEEP_INTERVAL_SECS", 1)
}

fn kill(scene: &mut Scene, inbox: &mut Process) {
    inbox.kill();
    assert_no_secret_in(&inbox.log());
    scene.history.note(inbox);
    *inbox = scene.desk.run();
}

impl<'a> World<'a> {
    async fn begin(store: &'a Store) -> Self {
        let server = builder(store).start();
        let (workspace, client) = server.workspace().await;
        let proxy = FaultProxy::start(server.address());
        let scene = Scene::begin(&client, &workspace, &proxy.url()).await;
        let inbox = scene.desk.run();
        let (living, _) = watch::channel(Some(client));
        Self {
            store,
            server: Some(server),
            proxy,
            living,
            scene,
            inbox,
        }
    }

    /// Waits until all has arrived, now that nothing ends any more, and looks at everything.
    async fn finish(self) -> Scene {
        let Self {
            server,
            proxy,
            mut scene,
            mut inbox,
            ..
        } = self;
        proxy.set_plan(Plan::Pass);
        let server = server.unwrap();
        let client = server.client(scene.workspace());
        scene.settle_files(&client, &inbox).await;
        // What the next one knows of the files, it knows from its journal.
        kill(&mut scene, &mut inbox);
        let taken = scene.ledger.taken_files().into_values();
        let uris: Vec<_> = taken.map(|file| file.uri).collect();
        scene.say(&client, "about all", &uris).await;
        scene.finish(&client, inbox).await;
        scene.check(&client).await;
        assert!(scene.history.lost().is_empty());
        scene
    }

    fn was_enough(&self, victims: &[Victim]) -> bool {
        let ends = victims.iter().any(|victim| matches!(victim, Victim::Inbox));
        let talkative = self.scene.history.talkative_runs();
        self.scene.ledger.taken() >= FILES && (!ends || talkative >= TALKATIVE)
    }

    fn end(&mut self, victim: Victim) {
        match victim {
            Victim::Inbox => kill(&mut self.scene, &mut self.inbox),
            Victim::Server(signal) => self.restart_server(signal),
        }
    }

    /// Ends the server, under whatever is under way, and starts another one elsewhere.
    fn restart_server(&mut self, signal: Signal) {
        // Nobody begins anything with a server that is dead, or they would do nothing else.
        self.living.send_replace(None);
        let server = self.server.take().unwrap();
        if signal == Signal::KILL {
            server.kill();
        } else {
            server.signal(signal);
            let (code, log) = server.wait();
            assert_eq!(code, Some(0), "{log}");
        }
        let server = builder(self.store).start();
        self.proxy.set_upstream(server.address());
        let client = server.client(self.scene.workspace());
        self.living.send_replace(Some(client));
        self.server = Some(server);
    }
}

/// Uploads to whichever server lives until there will be none any more, and sends messages about what
/// was taken.
async fn upload(
    mut living: watch::Receiver<Option<Client>>,
    ledger: Arc<Ledger>,
    mut random: Random,
) {
    let mut next = async || {
        let found = living.wait_for(Option::is_some).await.ok()?;
        found.clone()
    };
    while let Some(client) = next().await {
        let answer = ledger.upload(&client, some_files(&mut random)).await;
        let taken = answer.ok().filter(|answer| answer.status == 200);
        if let Some(answer) = taken {
            let words = random.any().to_string();
            try_to_say(&client, ledger.workspace(), &words, &uris(&answer.json())).await;
        }
        sleep(Duration::from_millis(random.below(REST))).await;
    }
}

/// One, or a few, from 1 byte to 400 KB.
fn some_files(random: &mut Random) -> Vec<Vec<u8>> {
    let lengths: &[usize] = match random.below(8) {
        0..=3 => &[2_000],
        4 | 5 => &[100_000],
        6 => &[400_000],
        _ => &[1, 150_000, 30_000],
    };
    let file = |length: &usize| bytes(random.any(), *length);
    lengths.iter().map(file).collect()
}
