//! How long a file takes from the 200 of its upload until the inbox says that it has arrived.
//!
//! `cargo bench -p inbox --bench delivery`; with `-- --smoke` it only shows, within seconds, that it
//! runs, and with `-- 'SQLite, 4 MB'` it measures that alone. It starts a server of its own on each
//! backend, and an inbox in this process, and speaks with 127.0.0.1 only. Everything is synced to the
//! disk as in production: what counts is the disk below cargo's target folder, and below the folder
//! for temporary files, where PostgreSQL's lies.
//!
//! Files are uploaded one after the other, each after a pause, so that the inbox is waiting in its
//! poll. A latency is negative when the event overtook the answer to the upload. Between the files,
//! the floor is measured: how long it takes at least to get the same bytes and to sync them.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a benchmark fails by panicking"
)]

mod delivery;
mod figures;
mod floor;
mod place;
mod steps;

use std::io::{self, Write};
use std::time::Duration;

use clap::Parser;
use server_harness::{Random, Server};
use tokio::time::sleep;

use crate::delivery::Deliveries;
use crate::figures::Report;
use crate::floor::Floor;
use crate::place::{Backend, Place};

/// What is measured before anything counts: connections are opened then, and caches filled.
const WARM_UP_ROUNDS: usize = 3;
/// The pause before an upload and before a measurement of the floor is at least this, and a random
/// time longer, of at most that.
const SHORTEST_PAUSE: Duration = Duration::from_millis(15);
const MORE_PAUSE_MICROS: u64 = 45_000;

/// How long a file takes from the 200 of its upload until the inbox says that it has arrived.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only measure what has this in its name, which is such as "SQLite, 4 MB".
    only: Option<String>,
    /// Only show that it runs: a few files, whose figures mean nothing.
    #[arg(long)]
    smoke: bool,
    /// Said by `cargo bench`; without it, as under `cargo test --benches`, it is as with --smoke.
    #[arg(long)]
    bench: bool,
}

/// Files of one length.
#[derive(Debug, Clone, Copy)]
struct Case {
    name: &'static str,
    bytes: usize,
    rounds: usize,
}

const CASES: [Case; 3] = [
    Case::new("1 KB", 1_000, 400),
    Case::new("100 KB", 100_000, 400),
    Case::new("4 MB", 4_000_000, 120),
];
const SMOKE_ROUNDS: usize = 5;

impl Case {
    const fn new(name: &'static str, bytes: usize, rounds: usize) -> Self {
        Self {
            name,
            bytes,
            rounds,
        }
    }
}

fn main() {
    let arguments = Arguments::parse();
    let cases = CASES.map(|case| Case {
        rounds: if arguments.smoke || !arguments.bench {
            SMOKE_ROUNDS
        } else {
            case.rounds
        },
        ..case
    });
    steps::record();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let only = arguments.only.unwrap_or_default();
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let is_wanted = |case: &Case| format!("{}, {}", backend.name(), case.name).contains(&only);
        let wanted: Vec<_> = cases.iter().copied().filter(is_wanted).collect();
        if wanted.is_empty() {
            continue;
        }
        let place = Place::of(backend);
        let server = place.server();
        print(&format!("\n{}\n{}", backend.name(), Report::head()));
        for case in wanted {
            let report = runtime.block_on(measure(&server, case));
            print(&report.rows());
        }
    }
}

async fn measure(server: &Server, case: Case) -> Report {
    let mut random = Random::from_seed(case.bytes as u64);
    let mut floor = Floor::prepare(server, case.bytes).await;
    let mut deliveries = Deliveries::begin(server).await;
    let mut report = Report::new(case.name);
    for round in 0..WARM_UP_ROUNDS + case.rounds {
        pause(&mut random).await;
        let delivered = deliveries.deliver(random.any(), case.bytes).await;
        pause(&mut random).await;
        let fetched = floor.fetch().await;
        if round >= WARM_UP_ROUNDS {
            report.count(&delivered, &fetched);
        }
    }
    deliveries.end().await;
    report
}

async fn pause(random: &mut Random) {
    let micros = random.below(MORE_PAUSE_MICROS);
    sleep(SHORTEST_PAUSE + Duration::from_micros(micros)).await;
}

fn print(text: &str) {
    io::stdout().write_all(text.as_bytes()).unwrap();
}
