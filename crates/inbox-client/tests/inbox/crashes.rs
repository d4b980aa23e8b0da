//! A process that is killed at any of its steps leaves each file on the disk once.
//!
//! The process is this test binary, run again for the one test that is otherwise ignored. It kills
//! itself (SIGKILL) in the very moment in which a step is done, because its logger sees the line that
//! says so.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ops::RangeInclusive;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use inbox_client::{Event, FixedToken, Inbox, Status};
use log::kv::Key;
use log::{LevelFilter, Log, Metadata, Record};
use rustix::process::{Signal, getpid, kill_process};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use crate::support::stand_in::{EAGER, StandIn, final_name, lying_in, next_event, until};
use crate::support::{PATIENT, TOKEN, token};

const URL: &str = "INBOX_TEST_URL";
const WORKSPACE: &str = "INBOX_TEST_WORKSPACE";
const FOLDER: &str = "INBOX_TEST_FOLDER";
const STEP: &str = "INBOX_TEST_STEP";
const TIME: &str = "INBOX_TEST_TIME";

/// Everything that is done to the disk, as the log says it; an entry of the journal by its kind.
const STEPS: [&str; 11] = [
    "partial_made",
    "partial_grown",
    "synced",
    "placed",
    "folder_synced",
    "arrived",
    "lost",
    "acked",
    "confirmed",
    "message_confirmed",
    "cursor",
];
/// How often the process comes to a step until it is killed: the cursor may pass many rows at once, and
/// one file is lost.
fn times(step: &str) -> RangeInclusive<u32> {
    match step {
        "cursor" | "lost" => 1..=1,
        _ => 1..=3,
    }
}

/// The length of the largest file: it comes in several pieces.
const LARGE: usize = 700_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_any_step_leaves_each_file_on_the_disk_once() {
    for step in STEPS {
        for time in times(step) {
            survive(step, time).await;
        }
    }
}

/// Kills a process at a step, for the so-manieth time that it comes to it, and has another one go on.
async fn survive(step: &str, time: u32) {
    let (platform, folder) = (StandIn::start().await, TempDir::new().unwrap());
    let sizes = [1, 5_000, LARGE, 300_000];
    let files: Vec<_> = (0_u8..)
        .zip(sizes)
        .map(|(n, size)| (platform.upload(&vec![n; size]), vec![n; size]))
        .collect();
    let expired = platform.announce_gone(b"nobody came");
    platform.announce_expiry(&expired);
    let mentioned: Vec<_> = files.iter().map(|(file, _)| file).collect();
    platform.send_about("all of them", &mentioned);
    platform.send_about("and another", &[]);
    platform.send_about("and one more", &[]);

    let status = run_until_killed(&platform, folder.path(), step, time).await;
    assert_eq!(
        status.signal(),
        Some(9),
        "it never came to {step} for the {time}. time"
    );

    let mut inbox = platform.inbox(folder.path()).open().await.unwrap();
    let mut messages = BTreeSet::new();
    platform.send_about("the end", &[]);
    while !messages.contains("the end") {
        if let Event::Message(message) = next_event(&mut inbox).await {
            let parts = &message.row["request_body"]["params"]["message"]["parts"];
            messages.insert(parts[0]["text"].as_str().unwrap().to_owned());
            let mentions = parts.to_string();
            assert!(!mentions.contains("platform-pending:"), "{mentions}");
        }
    }
    let expected: BTreeMap<_, _> = files
        .iter()
        .map(|(file, bytes)| (final_name(file), bytes.clone()))
        .collect();
    // The announced file that is gone may be looked for last of all.
    let state = folder.path().join("state");
    let lost = || {
        let status = Status::read(&state, platform.workspace()).unwrap();
        status.unwrap().lost
    };
    let is_done = || platform.is_empty() && lost() == 1;
    until(|| is_done() && lying_in(folder.path()) == expected).await;
    inbox.close().await;
    assert!(lying_in(folder.path()) == expected);
}

async fn run_until_killed(platform: &StandIn, folder: &Path, step: &str, time: u32) -> ExitStatus {
    let mut process = Command::new(env::current_exe().unwrap());
    process
        .args(["--exact", "crashes::run_an_inbox", "--ignored"])
        .env(URL, platform.scripted().url())
        .env(WORKSPACE, platform.workspace().to_string())
        .env(FOLDER, folder)
        .env(STEP, step)
        .env(TIME, time.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let status = spawn_blocking(move || process.status());
    status.await.unwrap().unwrap()
}

#[tokio::test]
#[ignore = "it is the process that the test above kills"]
async fn run_an_inbox() {
    let told = |name| env::var(name).unwrap();
    let killer = Killer {
        step: told(STEP),
        left: AtomicU32::new(told(TIME).parse().unwrap()),
    };
    log::set_boxed_logger(Box::new(killer)).unwrap();
    log::set_max_level(LevelFilter::Trace);
    let folder = PathBuf::from(told(FOLDER));
    let builder = Inbox::builder()
        .platform(told(URL).parse().unwrap())
        .workspace(told(WORKSPACE).parse().unwrap())
        .token(Arc::new(FixedToken(token(TOKEN))))
        .folder(folder.join("files"))
        .state_folder(folder.join("state"))
        .timeouts(PATIENT)
        .retry(EAGER);
    let mut inbox = builder.open().await.unwrap();
    // Four files, a lost one, and three messages; should the step not come, the process ends well.
    for _ in 0..8 {
        next_event(&mut inbox).await;
    }
    let (state, workspace) = (folder.join("state"), inbox.workspace_id());
    until(|| {
        let status = Status::read(&state, workspace).unwrap().unwrap();
        status.unacked == 0 && status.cursor.is_some_and(|cursor| cursor.seq.0 == 9)
    })
    .await;
    inbox.close().await;
}

/// A logger that kills the process at a step.
struct Killer {
    step: String,
    left: AtomicU32,
}

impl Log for Killer {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let said = |key| {
            let value = record.key_values().get(Key::from_str(key));
            value.map(|value| value.to_string())
        };
        let is_the_step = [said("step"), said("entry")].contains(&Some(self.step.clone()));
        if is_the_step && self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            kill_process(getpid(), Signal::KILL).unwrap();
            loop {
                thread::park();
            }
        }
    }

    fn flush(&self) {}
}
