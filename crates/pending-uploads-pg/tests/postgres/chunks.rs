//! How the bytes of files lie in their rows.

use std::time::Duration;

use pending_uploads_core::{ByteRange, Storage, StorageExt, SweepPolicy};

use crate::behaviour::Postgres;

const MIB: usize = 1024 * 1024;

/// How many chunks have so many bytes, and take so many where they lie, uncompressed.
async fn db_chunks(it: &Postgres, length: usize, stored: usize) -> i64 {
    it.db_number(&format!(
        "SELECT count(*) FROM pending_upload_chunks \
         WHERE octet_length(data) = {length} AND pg_column_size(data) = {stored}"
    ))
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_stored_while_it_arrives_lies_uncompressed_in_a_page_for_each_8000_bytes() {
    let it = Postgres::with_a_workspace().await;
    it.stage(&vec![0; 2_000_010]).await;
    // What is in its row has a head of four bytes, or of one when it is short.
    assert_eq!(db_chunks(&it, 8_000, 8_004).await, 250);
    assert_eq!(db_chunks(&it, 10, 11).await, 1);
    let beside = "SELECT pg_relation_size(reltoastrelid) FROM pg_class \
                  WHERE relname = 'pending_upload_chunks'";
    assert_eq!(it.db_number(beside).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_stored_in_one_piece_lies_uncompressed_in_chunks_of_64000_bytes() {
    let it = Postgres::with_a_workspace().await;
    it.stage(&vec![0; 128_010]).await;
    assert_eq!(db_chunks(&it, 64_000, 64_000).await, 2);
    assert_eq!(db_chunks(&it, 10, 11).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_whose_chunks_are_of_64_kib_are_read_and_swept() {
    let it = Postgres::with_a_workspace().await;
    let data: Vec<u8> = (0..=250).cycle().take(5 * MIB / 2).collect();
    let upload = it.stage(&data).await;
    // As versions before the fifth step of the tables have stored it.
    it.db
        .batch_execute(
            "CREATE TEMP TABLE whole AS SELECT file_id, string_agg(data, '' ORDER BY seq) AS data \
                 FROM pending_upload_chunks GROUP BY file_id; \
             DELETE FROM pending_upload_chunks; \
             INSERT INTO pending_upload_chunks SELECT file_id, seq, \
                 substring(data FROM seq * 65536 + 1 FOR 65536) \
                 FROM whole, generate_series(0, 39) AS seq; \
             UPDATE pending_uploads SET chunk_bytes = 65536",
        )
        .await
        .unwrap();
    let (workspace, file) = (upload.workspace_id, upload.file_id);
    let whole = it.files.read_whole(workspace, file, u64::MAX).await;
    assert!(whole.unwrap() == data);
    for (start, end) in [
        (0, 1),
        (65_535, 65_537),
        (511_999, 512_001),
        (524_287, 1_048_577),
    ] {
        let range = ByteRange::new(start as u64, end as u64).unwrap();
        let read = it.files.read_range(workspace, file, range).await.unwrap();
        assert!(read == data[start..end], "{start}..{end}");
    }
    it.files.ack(workspace, file).await.unwrap();
    let policy = SweepPolicy {
        ack_retention: Duration::ZERO,
        ..SweepPolicy::default()
    };
    let swept = it.files.sweep(&policy).await.unwrap();
    assert_eq!(swept.files.len(), 1);
    assert_eq!(
        it.db_number("SELECT count(*) FROM pending_upload_chunks")
            .await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_of_files_of_one_or_two_chunks_come_with_the_record() {
    let it = Postgres::with_a_workspace().await;
    let most = 128_000;
    for length in [1, most / 2, most / 2 + 1, most, most + 1] {
        let upload = it.stage(&vec![1; length]).await;
        let opened = it.files.open(it.workspace, upload.file_id).await.unwrap();
        let bytes = opened.bytes.map(|bytes| bytes.len());
        assert_eq!(bytes, (length <= most).then_some(length));
    }
}
