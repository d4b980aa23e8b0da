//! That the bare loop does what ours does.

use std::fs;
use std::time::Duration;

use super::*;
use crate::floors::Feeds;
use crate::load::Extent;

const FEW: Extent = Extent {
    duration: Duration::from_mins(1),
    turns: 6,
};

async fn fresh() -> (tempfile::TempDir, FloorFolder) {
    let place = tempfile::tempdir().unwrap();
    let folder = FloorFolder::open(place.path()).await.unwrap();
    (place, folder)
}

fn count(folder: &FloorFolder, what: &str) -> i64 {
    let connection = folder.connect().unwrap();
    let sql = format!("SELECT {what}");
    connection.query_row(&sql, [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn small_files_are_published_in_rows_and_large_ones_beside_them() {
    for grouping in [Grouping::Together, Grouping::Alone] {
        for feeds in [Feeds::OneEach, Feeds::OneForAll] {
            let (place, folder) = fresh().await;
            for size in [1_000, 1_000_000] {
                let yielded = publish(&folder, size, (grouping, feeds), 3, FEW)
                    .await
                    .unwrap();
                assert_eq!((yielded.turns, yielded.bytes), (6, 6 * size));
            }
            let rows = count(&folder, "sum(length(data)) FROM pending_upload_bytes");
            assert_eq!(rows, 6_000, "{grouping:?} {feeds:?}");
            assert_eq!(count(&folder, "count(*) FROM pending_uploads"), 12);
            assert_eq!(count(&folder, "count(*) FROM activity"), 12);
            let files = fs::read_dir(place.path().join("files")).unwrap();
            let lengths: Vec<u64> = files
                .map(|file| file.unwrap().metadata().unwrap().len())
                .collect();
            assert_eq!(lengths, [1_000_000; 6]);
        }
    }
}

#[tokio::test]
async fn each_ack_is_of_another_file() {
    for grouping in [Grouping::Together, Grouping::Alone] {
        let (_place, folder) = fresh().await;
        assert_eq!(ack(&folder, grouping, 2, FEW).await.unwrap().turns, 6);
        let acked = "count(*) FROM pending_uploads WHERE acked_at IS NOT NULL";
        assert_eq!(count(&folder, acked), 6);
    }
}

#[tokio::test]
async fn an_idle_poll_finds_nothing_after_the_newest_row() {
    let (_place, folder) = fresh().await;
    assert_eq!(poll(&folder, 2, FEW).await.unwrap().turns, 6);
}

#[tokio::test]
async fn work_that_fails_is_told_to_its_group() {
    let (_place, folder) = fresh().await;
    let connection = folder.connect().unwrap();
    let writer = writer::Writer::start(connection, Grouping::Together).unwrap();
    let workspace = uuid::Uuid::now_v7();
    writer.write(work::Work::Register(workspace)).await.unwrap();
    let again = writer.write(work::Work::Register(workspace)).await;
    assert!(matches!(again, Err(FloorError::Group(_))), "{again:?}");
}
