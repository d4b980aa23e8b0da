//! How fast a journal is: what the decision about it quotes.
//!
//! `cargo test --release -p inbox-client --lib -- --ignored --nocapture measuring`

use std::time::Instant;

use pending_uploads_core::SystemClock;

use super::*;

const FILES: u128 = 10_000;
/// How many appends are measured at a time.
const APPENDS: u128 = 2_000;
const TASKS: [u128; 4] = [1, 4, 16, 64];
const ROUNDS: usize = 9;

fn median(rounds: impl Iterator<Item = f64>) -> f64 {
    let mut rounds: Vec<_> = rounds.collect();
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

fn per_second(many: u128, began: Instant) -> f64 {
    let many = u32::try_from(many).unwrap();
    f64::from(many) / began.elapsed().as_secs_f64()
}

#[test]
#[ignore = "it measures"]
fn appends_alone_and_in_groups() {
    // Rounds are interleaved, so that a disk that others use as well is as unfair to each.
    let rounds: Vec<_> = (0..ROUNDS).map(|_| (alone(), TASKS.map(grouped))).collect();
    let alone = median(rounds.iter().map(|(alone, _)| *alone));
    println!("each append synced alone: {alone:.0}/s");
    for (number, tasks) in TASKS.iter().enumerate() {
        let grouped = median(rounds.iter().map(|(_, grouped)| grouped[number]));
        println!("{tasks} tasks over one writer: {grouped:.0}/s");
    }
}

fn alone() -> f64 {
    let state = State::new();
    let mut journal = state.journal();
    let began = Instant::now();
    for number in 0..APPENDS {
        journal.append(&[Entry::Arrived(arrived(number))]).unwrap();
    }
    let rate = per_second(APPENDS, began);
    assert_eq!(state.records().files.len() as u128, APPENDS);
    rate
}

fn grouped(tasks: u128) -> f64 {
    let state = State::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let writer = JournalWriter::start(state.journal(), Arc::new(SystemClock)).unwrap();
    let began = Instant::now();
    let rate = runtime.block_on(async {
        let of_task = |task: u128| {
            let writer = writer.clone();
            tokio::spawn(async move {
                for number in (task..APPENDS).step_by(usize::try_from(tasks).unwrap()) {
                    let entry = Entry::Arrived(arrived(number));
                    writer.write(vec![entry]).await.unwrap();
                }
            })
        };
        let running: Vec<_> = (0..tasks).map(of_task).collect();
        for task in running {
            task.await.unwrap();
        }
        let rate = per_second(APPENDS, began);
        writer.close().await;
        rate
    });
    assert_eq!(state.records().files.len() as u128, APPENDS);
    rate
}

#[test]
#[ignore = "it measures"]
fn opening_and_compacting_with_many_files() {
    let state = State::new();
    let mut journal = state.journal();
    for number in 0..FILES {
        let id = file_id(number);
        journal.append(&[Entry::Arrived(arrived(number))]).unwrap();
        journal
            .append(&[Entry::Acked(id), Entry::Confirmed(id), cursor(1)])
            .unwrap();
    }
    drop(journal);
    let opening = |_| {
        let began = Instant::now();
        let (_journal, records) = state.open().unwrap();
        assert_eq!(records.files.len() as u128, FILES);
        began.elapsed().as_secs_f64() * 1000.0
    };
    let len = state.bytes().len();
    println!(
        "{FILES} files, {len} bytes: opened in {:.1} ms",
        median((0..ROUNDS).map(opening))
    );
    let mut journal = state.journal();
    journal
        .append(&(0..FILES).map(|_| cursor(2)).collect::<Vec<_>>())
        .unwrap();
    let before = journal.len;
    let began = Instant::now();
    let bytes = journal.whole_after_compaction(NOW).unwrap();
    journal.replace(&bytes).unwrap();
    let took = began.elapsed().as_secs_f64() * 1000.0;
    println!(
        "written anew from {before} to {} bytes in {took:.1} ms",
        journal.len
    );
    drop(journal);
    println!("then opened in {:.1} ms", median((0..ROUNDS).map(opening)));
}
