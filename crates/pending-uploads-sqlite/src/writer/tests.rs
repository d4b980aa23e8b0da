//! What shares a commit, what is synced, and who is told what when something fails.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::{join_all, poll_immediate};
use pending_uploads_core::Error;
use tokio::task::unconstrained;

use super::groups::{GROUP, GROUP_KIB, commit_failed};
use super::*;

mod bundling;
mod doubts;

const TABLE: &str = "CREATE TABLE t (n INTEGER PRIMARY KEY, data BLOB); \
     CREATE TABLE bundles (id BLOB, files INTEGER)";

fn in_memory() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(TABLE).unwrap();
    connection
}

/// A database with a write-ahead log, which waits for nobody.
fn in_folder(folder: &Path) -> Connection {
    let connection = Connection::open(folder.join("t.sqlite3")).unwrap();
    connection
        .execute_batch("PRAGMA journal_mode = WAL")
        .unwrap();
    connection.execute_batch(TABLE).unwrap();
    connection.busy_timeout(Duration::ZERO).unwrap();
    connection
}

fn writer() -> Writer {
    start(in_memory())
}

/// Starts a writer with a folder for bundles, which is gone when it has ended.
fn start(connection: Connection) -> Writer {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::open(place.path()).unwrap();
    Writer::start_with(connection, Arc::new(folder), place, Doubt::default()).unwrap()
}

/// A writer that asks, each time it commits, whether that commit is to fail. Its first commit has
/// the number 0.
fn writer_asking(fails: impl Fn(usize) -> bool + Send + 'static) -> (Writer, Arc<AtomicUsize>) {
    let (connection, commits) = asking(fails);
    (start(connection), commits)
}

fn asking(fails: impl Fn(usize) -> bool + Send + 'static) -> (Connection, Arc<AtomicUsize>) {
    let mut connection = in_memory();
    let commits = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&commits);
    let hook = move || fails(counter.fetch_add(1, Ordering::SeqCst));
    connection.commit_hook(Some(hook)).unwrap();
    (connection, commits)
}

fn insert(n: i64) -> impl FnMut(&Connection) -> Result<usize, SqliteError> + Send + 'static {
    insert_of(n, 0)
}

fn insert_of(
    n: i64,
    bytes: i64,
) -> impl FnMut(&Connection) -> Result<usize, SqliteError> + Send + 'static {
    move |connection| Ok(connection.execute("INSERT INTO t VALUES (?1, zeroblob(?2))", [n, bytes])?)
}

/// Lets the database grow to so many pages.
fn room(pages: i64) -> impl FnMut(&Connection) -> Result<(), SqliteError> + Send + 'static {
    move |connection| Ok(connection.pragma_update(None, "max_page_count", pages)?)
}

async fn numbers(writer: &Writer) -> Vec<i64> {
    let work = |connection: &Connection| {
        let mut select = connection.prepare("SELECT n FROM t ORDER BY n")?;
        let rows = select.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    };
    writer.write(Promise::Durable, work).await.unwrap()
}

/// Keeps the thread busy until the answer is dropped.
async fn hold(writer: &Writer) -> Sender<()> {
    let (tell, held) = oneshot::channel();
    let (release, released) = channel::<()>();
    let writer = writer.clone();
    tokio::spawn(async move {
        let work = move |_: &Connection| {
            let told = tell.send(());
            Ok(told.is_ok() && released.recv().is_ok())
        };
        writer.write_once(Promise::BestEffort, work).await
    });
    held.await.unwrap();
    release
}

/// Asks for several pieces of work while the thread is held, so that they make one group.
async fn together<T>(
    held: Sender<()>,
    works: impl IntoIterator<Item = impl Future<Output = Result<T, SqliteError>>>,
) -> Vec<Result<T, SqliteError>> {
    let mut works: Vec<_> = works.into_iter().map(Box::pin).collect();
    for work in &mut works {
        // A task that has done much is told to wait; this one must not be.
        assert!(unconstrained(poll_immediate(work)).await.is_none());
    }
    drop(held);
    join_all(works).await
}

#[tokio::test]
async fn work_that_fails_takes_none_of_its_group_with_it() {
    let writer = writer();
    let runs = Arc::new(AtomicUsize::new(0));
    let held = hold(&writer).await;
    // The second has written its first row when its second one fails.
    let works = [(7, 1), (8, 1), (9, 2)].map(|(first, second)| {
        let runs = Arc::clone(&runs);
        writer.write(Promise::Durable, move |connection: &Connection| {
            runs.fetch_add(1, Ordering::SeqCst);
            insert(first)(connection)?;
            insert(second)(connection)
        })
    });
    let answers = together(held, works).await;
    assert!(answers[0].is_ok() && answers[1].is_err() && answers[2].is_ok());
    assert_eq!(numbers(&writer).await, [1, 2, 7, 9]);
    // The first two together, and then each of the three apart.
    assert_eq!(runs.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn a_group_in_which_nothing_fails_or_nothing_was_written_before_runs_once() {
    let writer = writer();
    let runs = Arc::new(AtomicUsize::new(0));
    let counting = |n: i64| {
        let runs = Arc::clone(&runs);
        move |connection: &Connection| {
            runs.fetch_add(1, Ordering::SeqCst);
            insert(n)(connection)
        }
    };
    // The second finds the first one's number taken, and has written nothing.
    for (numbers, expected) in [([1, 2], 2), ([3, 3], 4)] {
        let held = hold(&writer).await;
        let works = numbers.map(|n| writer.write(Promise::Durable, counting(n)));
        together(held, works).await;
        assert_eq!(runs.load(Ordering::SeqCst), expected);
    }
    assert_eq!(numbers(&writer).await, [1, 2, 3]);
}

#[tokio::test]
async fn work_that_cannot_be_done_twice_is_done_once_whoever_fails_beside_it() {
    let writer = writer();
    let held = hold(&writer).await;
    let failing = |connection: &Connection| {
        insert(7)(connection)?;
        insert(7)(connection)
    };
    let (failed, once, kept) = (
        Box::pin(writer.write(Promise::Durable, failing)),
        Box::pin(writer.write_once(Promise::Durable, insert(1))),
        Box::pin(writer.write(Promise::Durable, insert(2))),
    );
    let works: [std::pin::Pin<Box<dyn Future<Output = _>>>; 3] = [failed, once, kept];
    let answers = together(held, works).await;
    assert!(answers[0].is_err() && answers[1].is_ok() && answers[2].is_ok());
    assert_eq!(numbers(&writer).await, [1, 2]);
}

#[tokio::test]
async fn what_follows_a_commit_is_done_when_it_was_done_and_for_nobody_who_failed() {
    let (writer, _) = writer_asking(|number| number == 1);
    let follow = |(first, second): (i64, i64)| {
        let (tell, told) = channel();
        let (writer, then) = (writer.clone(), move || tell.send(first).unwrap_or(()));
        let writing = async move {
            let place = writer.place(0).await.unwrap();
            let twice = in_transaction(move |connection: &Connection| {
                insert(first)(connection)?;
                insert(second)(connection)
            });
            writer
                .write_then(place, Promise::Durable, twice, then)
                .await
        };
        (Box::pin(writing), told)
    };
    // Nobody waits for the first any more; the commit of the second fails.
    let (mut forgotten, told) = follow((1, 10));
    drop(poll_immediate(&mut forgotten).await);
    drop(forgotten);
    assert_eq!(told.recv(), Ok(1));
    let (refused, told) = follow((2, 20));
    assert!(refused.await.is_err());
    assert!(told.recv().is_err());
    // One that fails in the midst of its writing is not followed; the others, which are done twice, are
    // followed once each.
    let held = hold(&writer).await;
    let (works, told): (Vec<_>, Vec<_>) =
        [(3, 30), (4, 30), (5, 50)].map(follow).into_iter().unzip();
    let answers = together(held, works).await;
    assert!(answers[0].is_ok() && answers[1].is_err() && answers[2].is_ok());
    let told: Vec<Vec<i64>> = told.iter().map(|told| told.iter().collect()).collect();
    assert_eq!(told, [vec![3], vec![], vec![5]]);
}

#[tokio::test]
async fn work_that_fails_undoes_what_it_had_done() {
    let writer = writer();
    writer.write(Promise::Durable, insert(1)).await.unwrap();
    let work = |connection: &Connection| {
        insert(7)(connection)?;
        insert(1)(connection)
    };
    assert!(writer.write(Promise::Durable, work).await.is_err());
    assert_eq!(numbers(&writer).await, [1]);
}

#[tokio::test]
async fn work_that_panics_takes_none_of_its_group_with_it() {
    let writer = writer();
    let held = hold(&writer).await;
    let works = [1, 7, 2].map(|n| {
        writer.write(Promise::Durable, move |connection: &Connection| {
            let inserted = insert(n)(connection)?;
            assert!(n != 7, "on purpose");
            Ok(inserted)
        })
    });
    let answers = together(held, works).await;
    assert!(answers[0].is_ok() && answers[2].is_ok());
    assert!(matches!(answers[1], Err(SqliteError::Closed)));
    assert_eq!(numbers(&writer).await, [1, 2]);
}

#[tokio::test]
async fn work_whose_caller_went_away_is_done_all_the_same() {
    let writer = writer();
    {
        let abandoned = std::pin::pin!(writer.write(Promise::Durable, insert(3)));
        drop(poll_immediate(abandoned).await);
    }
    assert_eq!(numbers(&writer).await, [3]);
}

#[tokio::test]
async fn work_that_arrives_while_the_thread_is_busy_shares_one_commit() {
    let (writer, commits) = writer_asking(|_| false);
    let held = hold(&writer).await;
    let works = (0..50).map(|n| writer.write(Promise::Durable, insert(n)));
    let answers = together(held, works).await;
    assert!(answers.iter().all(Result::is_ok));
    // That of the work that kept it busy, and theirs.
    assert_eq!(commits.load(Ordering::SeqCst), 2);
    assert_eq!(numbers(&writer).await.len(), 50);
}

#[tokio::test]
async fn much_work_is_spread_over_several_commits() {
    let (writer, commits) = writer_asking(|_| false);
    let held = hold(&writer).await;
    let works = (0..)
        .take(2 * GROUP)
        .map(|n| writer.write(Promise::Durable, insert(n)));
    let answers = together(held, works).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(commits.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn large_work_is_spread_over_several_commits() {
    let (writer, commits) = writer_asking(|_| false);
    let held = hold(&writer).await;
    let bytes = GROUP_KIB as usize * 1024 / 4;
    let mut places = Vec::new();
    for _ in 0..8 {
        places.push(writer.place(bytes).await.unwrap());
    }
    let works = (0..).zip(places).map(|(n, place)| {
        let work = in_transaction(insert(n));
        writer.write_then(place, Promise::Durable, work, || ())
    });
    let answers = together(held, works).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(commits.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn large_rows_are_spread_over_several_commits_and_share_no_bundle() {
    let (writer, commits) = writer_asking(|_| false);
    let held = hold(&writer).await;
    let bytes = GROUP_KIB as usize * 1024 / 4;
    let mut places = Vec::new();
    for _ in 0..8 {
        places.push(writer.place_for_rows(bytes).await.unwrap());
    }
    let works = places.into_iter().map(|place| {
        let work = |writing: &Writing<'_>| Ok(writing.is_in_rows());
        writer.write_then(place, Promise::Durable, work, || ())
    });
    for is_in_rows in together(held, works).await {
        assert!(is_in_rows.unwrap());
    }
    assert_eq!(commits.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_full_queue_takes_no_more_work_until_some_is_done() {
    let writer = writer();
    let held = hold(&writer).await;
    let all = QUEUE_KIB as usize * 1024;
    let mut large = Box::pin(writer.place(all));
    // The work that keeps the thread busy has a place as well.
    assert!(poll_immediate(&mut large).await.is_none());
    let mut small = Box::pin(writer.write(Promise::Durable, insert(1)));
    assert!(poll_immediate(&mut small).await.is_none());
    drop(held);
    let place = large.await.unwrap();
    assert!(poll_immediate(&mut small).await.is_none());
    drop(place);
    small.await.unwrap();
    assert_eq!(numbers(&writer).await, [1]);
}

#[tokio::test]
async fn a_group_is_synced_when_anything_in_it_was_promised() {
    use Promise::{BestEffort, Durable};
    let (normal, full) = (1, 2);
    let writer = writer();
    for (promises, level) in [
        (vec![BestEffort], normal),
        (vec![Durable], full),
        (vec![BestEffort, Durable], full),
        (vec![BestEffort, BestEffort], normal),
    ] {
        let held = hold(&writer).await;
        let works = promises.iter().map(|promise| {
            writer.write(*promise, |connection: &Connection| {
                let level = connection.pragma_query_value(None, "synchronous", |row| row.get(0));
                Ok::<i64, SqliteError>(level?)
            })
        });
        for answer in together(held, works).await {
            assert_eq!(answer.unwrap(), level, "{promises:?}");
        }
    }
}

#[tokio::test]
async fn a_commit_that_fails_is_told_to_everyone_in_it_and_the_next_one_works() {
    let (writer, commits) = writer_asking(|number| number == 1);
    let held = hold(&writer).await;
    let works = [0, 1, 2, 2].map(|n| writer.write(Promise::Durable, insert(n)));
    let mut answers = together(held, works).await;
    let failed_alone = answers.pop().unwrap();
    assert!(matches!(failed_alone, Err(SqliteError::Statement(_))));
    for answer in answers {
        assert!(matches!(answer, Err(SqliteError::Commit(..))), "{answer:?}");
        // After a crash it may be there all the same.
        let told = Error::from(answer.unwrap_err());
        assert!(matches!(told, Error::Unavailable { .. }), "{told:?}");
    }
    assert_eq!(commits.load(Ordering::SeqCst), 2);
    assert_eq!(numbers(&writer).await, [0_i64; 0]);
    writer.write(Promise::Durable, insert(9)).await.unwrap();
    assert_eq!(numbers(&writer).await, [9]);
}

/// SQLite undoes the whole transaction when the disk is full in the midst of a statement.
#[tokio::test]
async fn on_a_full_disk_exactly_that_stays_which_was_told_to_stay() {
    let folder = tempfile::tempdir().unwrap();
    let writer = start(in_folder(folder.path()));
    writer.write(Promise::Durable, room(20)).await.unwrap();
    let held = hold(&writer).await;
    let works = [10, 10, 1_000_000, 10, 10]
        .into_iter()
        .zip(0..)
        .map(|(bytes, n)| writer.write(Promise::Durable, insert_of(n, bytes)));
    let answers = together(held, works).await;
    let stayed: Vec<i64> = (0..)
        .zip(&answers)
        .filter(|(_, answer)| answer.is_ok())
        .map(|(n, _)| n)
        .collect();
    // Those after it have a transaction of their own.
    assert_eq!(stayed, [3, 4]);
    assert_eq!(numbers(&writer).await, stayed);
    for error in answers.into_iter().filter_map(Result::err) {
        let told = Error::from(error);
        assert!(matches!(told, Error::Unavailable { .. }), "{told:?}");
    }
    writer.write(Promise::Durable, room(10_000)).await.unwrap();
    writer
        .write(Promise::Durable, insert_of(2, 1_000_000))
        .await
        .unwrap();
    assert_eq!(numbers(&writer).await, [2, 3, 4]);
}

#[test]
fn a_commit_that_found_the_disk_full_is_known_to_be_undone() {
    let error = |code| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
    let full = commit_failed(&error(rusqlite::ffi::SQLITE_FULL));
    assert!(matches!(full, SqliteError::Undone(..)), "{full:?}");
    let unsynced = commit_failed(&error(rusqlite::ffi::SQLITE_IOERR_FSYNC));
    assert!(matches!(unsynced, SqliteError::Commit(..)), "{unsynced:?}");
}

/// Somebody with a tool has a transaction of his own open.
#[tokio::test]
async fn a_group_that_cannot_begin_is_told_why_and_the_next_one_can() {
    let folder = tempfile::tempdir().unwrap();
    let writer = start(in_folder(folder.path()));
    let other = Connection::open(folder.path().join("t.sqlite3")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = writer.write(Promise::Durable, insert(1)).await.unwrap_err();
    assert!(refused.to_string().contains("locked"), "{refused}");
    let told = Error::from(refused);
    assert!(matches!(told, Error::Unavailable { .. }), "{told:?}");
    other.execute_batch("ROLLBACK").unwrap();
    writer.write(Promise::Durable, insert(1)).await.unwrap();
    assert_eq!(numbers(&writer).await, [1]);
}

/// A backup, for one: it sees the state that it began with for as long as it takes.
#[tokio::test]
async fn somebody_who_reads_for_long_does_not_hold_each_commit_up() {
    let folder = tempfile::tempdir().unwrap();
    let writer = start(in_folder(folder.path()));
    let backup = Connection::open(folder.path().join("t.sqlite3")).unwrap();
    backup
        .execute_batch("BEGIN; SELECT count(*) FROM t")
        .unwrap();
    let started = std::time::Instant::now();
    let mebibyte = 1024 * 1024;
    for n in 0..80 {
        writer
            .write(Promise::BestEffort, insert_of(n, mebibyte))
            .await
            .unwrap();
    }
    // Waiting half a second after each of the last sixty would take half a minute.
    assert!(
        started.elapsed() < Duration::from_secs(15),
        "{:?}",
        started.elapsed()
    );
    backup.execute_batch("COMMIT").unwrap();
    let log = folder.path().join("t.sqlite3-wal");
    assert!(log.metadata().unwrap().len() > 80 * 1024 * 1024);
    writer
        .write(Promise::BestEffort, insert_of(80, 20 * mebibyte))
        .await
        .unwrap();
    writer.write(Promise::BestEffort, insert(81)).await.unwrap();
    let cut = log.metadata().unwrap().len();
    assert!(cut < 1024 * 1024, "{cut} bytes");
}
