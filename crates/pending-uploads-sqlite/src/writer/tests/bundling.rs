//! What is committed together lies in one bundle, and what becomes of that when something fails.

use super::*;
use crate::bundle::Slot;

/// So many bytes that three of them make no bundle, and four do.
const SOME: usize = 100_000;

/// Starts a writer that makes its bundles in a folder at `place`.
fn start_in(place: &Path, connection: Connection) -> Writer {
    let folder = Folder::open(place).unwrap();
    Writer::start(connection, Arc::new(folder)).unwrap()
}

fn bundled(n: i64) -> impl FnMut(&Writing<'_>) -> Result<Option<Slot>, SqliteError> + Send {
    move |writing| {
        let slot = writing.put(&vec![b'x'; SOME])?;
        insert(n)(writing.connection())?;
        Ok(slot)
    }
}

/// Work that puts some bytes each into what is committed together, and what it answers.
async fn put_together(
    writer: &Writer,
    works: impl IntoIterator<
        Item = impl FnMut(&Writing<'_>) -> Result<Option<Slot>, SqliteError> + Send + 'static,
    >,
) -> Vec<Result<Option<Slot>, SqliteError>> {
    let held = hold(writer).await;
    let mut writings = Vec::new();
    for work in works {
        let place = writer.place(SOME).await.unwrap();
        writings.push(writer.write_then(place, Promise::Durable, work, || ()));
    }
    together(held, writings).await
}

fn files_in(place: &Path) -> Vec<u64> {
    let entries = std::fs::read_dir(place.join("files")).unwrap();
    entries
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .collect()
}

#[tokio::test]
async fn what_is_committed_together_lies_in_one_bundle_unless_it_is_little() {
    let place = tempfile::tempdir().unwrap();
    let writer = start_in(place.path(), in_memory());
    let little = put_together(&writer, (0..3).map(bundled)).await;
    assert!(little.iter().all(|slot| matches!(slot, Ok(None))));
    assert_eq!(files_in(place.path()), [0_u64; 0]);

    let slots = put_together(&writer, (3..7).map(bundled)).await;
    let slots: Vec<Slot> = slots
        .into_iter()
        .map(|slot| slot.unwrap().unwrap())
        .collect();
    assert!(slots.iter().all(|slot| slot.bundle == slots[0].bundle));
    let offsets: Vec<u64> = slots.iter().map(|slot| slot.offset).collect();
    assert_eq!(offsets, [0, 102_400, 204_800, 307_200]);
    assert_eq!(files_in(place.path()), [407_200]);
    let files = |connection: &Connection| {
        Ok(connection.query_row("SELECT files FROM bundles", [], |row| row.get(0))?)
    };
    let files: i64 = writer.write(Promise::BestEffort, files).await.unwrap();
    assert_eq!(files, 4);
}

#[tokio::test]
async fn of_a_group_that_is_done_once_more_no_bundle_is_left() {
    let place = tempfile::tempdir().unwrap();
    let writer = start_in(place.path(), in_memory());
    // The last one's number is taken, and that after it has put its bytes into the bundle.
    let answers = put_together(&writer, [1, 2, 3, 4, 1].map(bundled)).await;
    assert!(answers[..4].iter().all(|slot| matches!(slot, Ok(None))));
    assert!(answers[4].is_err());
    assert_eq!(numbers(&writer).await, [1, 2, 3, 4]);
    assert_eq!(files_in(place.path()), [0_u64; 0]);
}

#[tokio::test]
async fn the_bundle_of_a_commit_that_failed_stays_because_a_crash_may_bring_that_back() {
    let place = tempfile::tempdir().unwrap();
    // The commit after that which only keeps the thread busy.
    let (connection, _) = asking(|number| number == 1);
    let writer = start_in(place.path(), connection);
    for answer in put_together(&writer, (0..4).map(bundled)).await {
        assert!(matches!(answer, Err(SqliteError::Commit(..))), "{answer:?}");
    }
    assert_eq!(numbers(&writer).await, [0_i64; 0]);
    assert_eq!(files_in(place.path()).len(), 1);
}

#[tokio::test]
async fn a_bundle_that_cannot_be_noted_leaves_its_files_in_rows() {
    let place = tempfile::tempdir().unwrap();
    let connection = in_memory();
    connection.execute_batch("DROP TABLE bundles").unwrap();
    let writer = start_in(place.path(), connection);
    let answers = put_together(&writer, (0..4).map(bundled)).await;
    assert!(answers.iter().all(|slot| matches!(slot, Ok(None))));
    assert_eq!(numbers(&writer).await, [0, 1, 2, 3]);
    assert_eq!(files_in(place.path()), [0_u64; 0]);
}
