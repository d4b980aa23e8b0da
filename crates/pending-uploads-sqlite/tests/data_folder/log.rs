//! The write-ahead log stays bounded, whatever is written and whoever reads meanwhile.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt;
use pending_uploads_core::{
    ActivityLog, ActivityQuery, FeedStart, Mimetype, Storage, StorageExt, WorkspaceId,
};
use rusqlite::Connection;
use tokio::task::JoinHandle;

use crate::support::{KIB, MIB, Platform, inside, length, log_file, name, noise, publish};

/// The longest that the log may ever be: what it is cut back to when it is next empty, and what one
/// group of publishes adds.
const BOUND: u64 = 32 * MIB as u64;

/// Looks at the log's length all the time, until it is stopped.
struct Watch {
    stopped: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<u64>,
}

impl Watch {
    fn start(log: PathBuf) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopped);
        let thread = std::thread::spawn(move || {
            let mut longest = 0;
            while !stop.load(Ordering::SeqCst) {
                longest = longest.max(length(&log));
                std::thread::sleep(Duration::from_millis(1));
            }
            longest
        });
        Self { stopped, thread }
    }

    /// How long the log was at most.
    fn longest(self) -> u64 {
        self.stopped.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_stays_short_under_large_uploads_and_a_slow_reader() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::open(folder.path()).await;
    let workspace = platform.workspace().await;
    let watch = Watch::start(log_file(folder.path()));
    let piece = noise(MIB, 1);
    let first = platform.publish(workspace, &noise(4 * MIB, 2)).await;
    let whole = first.whole().unwrap();
    let mut slow = platform
        .storage
        .read(workspace, first.file_id, whole)
        .await
        .unwrap();
    for _ in 0..3 {
        let mut batch = platform.storage.begin(workspace).await.unwrap();
        batch.start_file(name(), Mimetype::absent()).await.unwrap();
        for _ in 0..100 {
            batch.write(&piece).await.unwrap();
        }
        batch.finish_file().await.unwrap();
        batch.publish().await.unwrap();
        slow.try_next().await.unwrap().unwrap();
    }
    let longest = watch.longest();
    assert!(longest > 0 && longest < MIB as u64, "{longest} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_stays_bounded_under_thousands_of_small_publishes_and_busy_readers() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Arc::new(Platform::open(folder.path()).await);
    let workspace = platform.workspace().await;
    let watch = Watch::start(log_file(folder.path()));
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..4)
        .map(|_| keep_reading(&platform, workspace, &done))
        .collect();
    let writers: Vec<_> = (0..20)
        .map(|writer| {
            let storage = platform.storage.clone();
            tokio::spawn(async move {
                for file in 0..100 {
                    let data = noise(20 * KIB, writer * 1000 + file);
                    publish(&storage, workspace, &data).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    done.store(true, Ordering::SeqCst);
    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
    let longest = watch.longest();
    assert!(longest < BOUND, "{longest} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_stays_bounded_though_somebody_reads_at_every_moment() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::open(folder.path()).await;
    let workspace = platform.workspace().await;
    let watch = Watch::start(log_file(folder.path()));
    let done = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&done);
    let connections = [inside(folder.path()), inside(folder.path())];
    let readers = std::thread::spawn(move || read_without_a_break(&connections, &stop));
    for seed in 0..400 {
        let files: Vec<_> = (0..3).map(|file| noise(100 * KIB, seed + file)).collect();
        platform.publish_all(workspace, &files).await;
    }
    done.store(true, Ordering::SeqCst);
    readers.join().unwrap();
    let longest = watch.longest();
    assert!(longest < BOUND, "{longest} bytes");
}

/// Two read in turn, for some milliseconds each, and none ends before the other has begun.
fn read_without_a_break(connections: &[Connection; 2], done: &AtomicBool) {
    let begin = "BEGIN; SELECT count(*) FROM feed_counters";
    let [reads, waits] = connections;
    reads.execute_batch(begin).unwrap();
    let mut turns = [(waits, reads), (reads, waits)].into_iter().cycle();
    while !done.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(5));
        let (next, last) = turns.next().unwrap();
        next.execute_batch(begin).unwrap();
        last.execute_batch("COMMIT").unwrap();
    }
}

/// Lists, polls and fetches, over and over; answers how often.
fn keep_reading(
    platform: &Arc<Platform>,
    workspace: WorkspaceId,
    done: &Arc<AtomicBool>,
) -> JoinHandle<u64> {
    let (platform, done) = (Arc::clone(platform), Arc::clone(done));
    tokio::spawn(async move {
        let mut rounds = 0;
        while !done.load(Ordering::SeqCst) {
            let newest = ActivityQuery::from_start(FeedStart::Newest);
            platform.activity.list(workspace, &newest).await.unwrap();
            let some = platform.storage.list(workspace, None, 5).await.unwrap();
            for upload in some {
                platform
                    .storage
                    .read_whole(workspace, upload.file_id, u64::MAX)
                    .await
                    .unwrap();
            }
            rounds += 1;
        }
        rounds
    })
}
