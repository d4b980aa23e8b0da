//! Bursts of a batch on their way: two at a time, in their order, and once each, whatever becomes of
//! the connection that they share.

use std::num::NonZeroUsize;
use std::pin::pin;

use futures_util::poll;
use pending_uploads_core::{Batch, Error, Storage, StorageExt};
use pending_uploads_pg::{DatabaseConfig, StorageConfig};
use server_harness::FaultProxy;

use crate::staged::{BURST, Staged, publish};
use crate::support::{self, until};

/// Keeps the next bursts from being stored, until the transaction ends.
const HOLD: &str = "BEGIN; SELECT FROM staged_batches FOR UPDATE";

/// Keeps the second of them from being stored, until the transaction ends.
const HOLD_THE_SECOND: &str = "BEGIN; INSERT INTO pending_upload_chunks (file_id, seq, data) \
     SELECT file_ids[1], 72, '\\x00' FROM staged_batches";

/// What the bursts that are on their way would have done, had they been committed.
const STORE_TWO: &str = "INSERT INTO pending_upload_chunks (file_id, seq, data) \
         SELECT file_ids[1], seq, decode(repeat('08', 8000), 'hex') \
         FROM staged_batches, generate_series(48, 95) AS seq; \
     UPDATE staged_batches SET bursts = bursts + 2";

impl Staged {
    /// Two more bursts are on their way, and the first of them is held.
    async fn two_on_their_way() -> (Self, Box<dyn Batch>) {
        Self::two_on_their_way_by(|url| DatabaseConfig::parse(url).unwrap()).await
    }

    async fn two_on_their_way_by(
        config: impl FnOnce(&str) -> DatabaseConfig,
    ) -> (Self, Box<dyn Batch>) {
        let (it, mut batch) = Self::two_bursts_by(config).await;
        it.db.batch_execute(HOLD).await.unwrap();
        batch.write(&vec![8; 2 * BURST]).await.unwrap();
        it.one_is_held().await;
        (it, batch)
    }

    async fn one_is_held(&self) {
        until("a burst waits for the batch's row", async || {
            support::db_who_wait_for_locks(&self.db).await == 1
        })
        .await;
    }

    async fn let_go(&self) {
        self.db.batch_execute("COMMIT").await.unwrap();
    }

    /// Asserts that the batch can be published, with all that was written.
    async fn publishes_whole(self, batch: Box<dyn Batch>, more: usize) {
        publish(batch).await.unwrap();
        let files = self.files.list(self.workspace, None, 10).await.unwrap();
        let bytes = self
            .files
            .read_whole(self.workspace, files[0].file_id, u64::MAX);
        let expected = [vec![7; 2 * BURST], vec![8; 2 * BURST], vec![9; more]].concat();
        assert!(bytes.await.unwrap() == expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_is_sent_before_the_one_before_it_is_answered() {
    let mut proxy = None;
    let (it, batch) = Staged::two_on_their_way_by(|url| {
        let (server, database) = url.rsplit_once('/').unwrap();
        let (user, server) = server.rsplit_once('@').unwrap();
        let proxy = proxy.insert(FaultProxy::start(server));
        let url = format!("{user}@{}/{database}", proxy.address());
        DatabaseConfig::parse(&url).unwrap()
    })
    .await;
    let proxy = proxy.unwrap();
    until("both are sent while the first is held", async || {
        proxy.counts().to_server > 4 * BURST as u64
    })
    .await;
    it.one_is_held().await;
    it.let_go().await;
    it.publishes_whole(batch, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_bursts_are_on_their_way_and_a_third_waits() {
    let (it, mut batch) = Staged::two_on_their_way().await;
    {
        let third = vec![9; BURST];
        let mut third = pin!(batch.write(&third));
        assert!(poll!(&mut third).is_pending());
        it.let_go().await;
        third.await.unwrap();
    }
    it.publishes_whole(batch, BURST).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bursts_whose_connection_was_lost_are_sent_again_in_their_order() {
    let (it, mut batch) = Staged::two_on_their_way().await;
    support::db_cut_connections(&it.db).await;
    it.let_go().await;
    batch.write(&vec![9; BURST + 1]).await.unwrap();
    it.publishes_whole(batch, BURST + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bursts_whose_answers_alone_were_lost_are_stored_once() {
    let (it, mut batch) = Staged::two_on_their_way().await;
    it.db.batch_execute(STORE_TWO).await.unwrap();
    support::db_cut_connections(&it.db).await;
    it.let_go().await;
    batch.write(&vec![9; BURST + 1]).await.unwrap();
    it.publishes_whole(batch, BURST + 1).await;
}

fn one_connection(url: &str) -> DatabaseConfig {
    let config = DatabaseConfig::parse(url).unwrap();
    config.with_pool_size(NonZeroUsize::MIN)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_a_connection_gets_it_before_the_next_burst() {
    let (it, mut batch) = Staged::two_bursts_by(one_connection).await;
    let other = support::db_client(&it.test_database).await;
    other.batch_execute(HOLD_THE_SECOND).await.unwrap();
    it.db.batch_execute(HOLD).await.unwrap();
    batch.write(&vec![8; BURST]).await.unwrap();
    it.one_is_held().await;
    // It waits for the only connection, and the second burst may not follow the first on that.
    {
        let mut list = pin!(it.files.list(it.workspace, None, 10));
        assert!(poll!(&mut list).is_pending());
        batch.write(&vec![8; BURST]).await.unwrap();
        it.let_go().await;
        assert_eq!(list.await.unwrap(), []);
    }
    other.batch_execute("ROLLBACK").await.unwrap();
    it.publishes_whole(batch, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_batch_that_is_gone_the_next_write_fails_and_others_get_its_connection() {
    let (it, mut batch) = Staged::two_on_their_way_by(one_connection).await;
    it.db
        .batch_execute("DELETE FROM staged_batches")
        .await
        .unwrap();
    it.let_go().await;
    let outcome = batch.write(&vec![9; 2 * BURST]).await;
    assert!(
        matches!(outcome, Err(Error::Unavailable { .. })),
        "{outcome:?}"
    );
    assert_eq!(it.files.list(it.workspace, None, 10).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_behind_a_mere_sign_of_life() {
    let (it, mut batch) = Staged::two_bursts().await;
    it.clock.advance(StorageConfig::default().staging_lease / 2);
    it.db.batch_execute(HOLD).await.unwrap();
    batch.write(&[8]).await.unwrap();
    it.one_is_held().await;
    {
        let more = vec![8; BURST - 1];
        let mut next = pin!(batch.write(&more));
        assert!(poll!(&mut next).is_pending());
        it.let_go().await;
        next.await.unwrap();
    }
    batch.write(&vec![8; BURST]).await.unwrap();
    it.publishes_whole(batch, 0).await;
}
