//! That each bare loop does what ours does.

use std::time::Duration;

use pg_cluster::TestDatabase;

use super::*;
use crate::floors::Feeds;
use crate::load::Extent;

const FEW: Extent = Extent {
    duration: Duration::from_mins(1),
    turns: 6,
};

/// How many rows the tables have, and how many bytes of content.
#[derive(Debug, PartialEq, Eq)]
struct Stored {
    files: i64,
    acked: i64,
    chunks: i64,
    chunk_bytes: i64,
    feed_rows: i64,
    numbered: i64,
    batches: i64,
}

async fn stored(database: &FloorDatabase) -> Stored {
    let count = "SELECT \
        (SELECT count(*) FROM pending_uploads), \
        (SELECT count(*) FROM pending_uploads WHERE acked_at IS NOT NULL), \
        (SELECT count(*) FROM pending_upload_chunks), \
        (SELECT coalesce(sum(length(data)), 0)::int8 FROM pending_upload_chunks), \
        (SELECT count(*) FROM activity), \
        (SELECT coalesce(sum(last_seq), 0)::int8 FROM feed_counters), \
        (SELECT count(*) FROM staged_batches)";
    let client = database.connect().await.unwrap();
    let row = client.query_one(count, &[]).await.unwrap();
    Stored {
        files: row.get(0),
        acked: row.get(1),
        chunks: row.get(2),
        chunk_bytes: row.get(3),
        feed_rows: row.get(4),
        numbered: row.get(5),
        batches: row.get(6),
    }
}

/// What six files of so many bytes are, when all is published.
fn six_files(chunks: i64, bytes: i64) -> Stored {
    Stored {
        files: 6,
        acked: 0,
        chunks: 6 * chunks,
        chunk_bytes: 6 * bytes,
        feed_rows: 6,
        numbered: 6,
        batches: 0,
    }
}

async fn fresh() -> (TestDatabase, FloorDatabase) {
    let database = TestDatabase::create();
    let floor = FloorDatabase::open(&database.url()).await.unwrap();
    (database, floor)
}

#[tokio::test]
async fn every_form_of_a_publish_stores_the_file_its_chunks_and_its_feed_row() {
    let (_database, floor) = fresh().await;
    for form in [Form::Flight, Form::OneStatement] {
        for feeds in [Feeds::OneEach, Feeds::OneForAll] {
            let yielded = publish(&floor, 100_000, (form, feeds), 3, FEW)
                .await
                .unwrap();
            assert_eq!((yielded.turns, yielded.bytes), (6, 600_000));
            assert_eq!(
                stored(&floor).await,
                six_files(2, 100_000),
                "{form:?} {feeds:?}"
            );
            floor.clear().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_copied_file_is_in_chunk_rows_and_published_and_leaves_no_batch() {
    let (_database, floor) = fresh().await;
    let size = 2_500_000;
    for commits in [Commits::EachBurst, Commits::EachFile] {
        let yielded = copy(&floor, size, commits, 2, FEW).await.unwrap();
        assert_eq!((yielded.turns, yielded.bytes), (6, 6 * size));
        assert_eq!(
            stored(&floor).await,
            six_files(313, 2_500_000),
            "{commits:?}"
        );
        floor.clear().await.unwrap();
    }
}

#[tokio::test]
async fn every_byte_of_a_file_is_read_in_windows() {
    let (_database, floor) = fresh().await;
    let size = 2_500_000;
    let yielded = windows(&floor, size, 2, FEW).await.unwrap();
    assert_eq!((yielded.turns, yielded.bytes), (6, 6 * size));
}

#[tokio::test]
async fn each_ack_is_of_another_file() {
    let (_database, floor) = fresh().await;
    let yielded = ack(&floor, 2, FEW).await.unwrap();
    assert_eq!(yielded.turns, 6);
    let stored = stored(&floor).await;
    assert_eq!((stored.files, stored.acked), (6, 6));
}

#[tokio::test]
async fn an_idle_poll_finds_nothing_after_the_newest_row() {
    let (_database, floor) = fresh().await;
    assert_eq!(poll(&floor, 2, FEW).await.unwrap().turns, 6);
    // One for each of the feeds, from before.
    assert_eq!(stored(&floor).await.feed_rows, 2);
}
