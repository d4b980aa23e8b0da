//! What holds when things happen at once: the clauses that a single thread can't break.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::support::*;
use super::{Fixture, Subject, Terms};
use crate::{
    Acked, Activity, ActivityId, ActivityType, Error, FileId, PendingUpload, Registrar,
    Registration, StorageExt, SweepPolicy, SweepReason, WorkspaceId,
};

/// Invariant 3: of many acks at once exactly one is the first, and all tell its time, although the
/// clock goes on meanwhile.
pub async fn of_many_acks_at_once_one_is_the_first(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    for _ in 0..5 {
        let file = subject.publish(workspace, b"hello").await.file_id;
        let acks = at_once((0..16).map(|number| {
            let (storage, clock) = (subject.either(number).storage, Arc::clone(&subject.clock));
            async move {
                clock.advance(Duration::from_millis(1));
                storage.ack(workspace, file).await.unwrap()
            }
        }))
        .await;
        let first = acks
            .iter()
            .filter(|ack| matches!(ack, Acked::First { .. }))
            .count();
        assert_eq!(first, 1);
        let times: HashSet<_> = acks.iter().map(Acked::at).collect();
        assert_eq!(times.len(), 1);
        let found = subject.storage.get(workspace, file).await.unwrap();
        assert_eq!(found.acked_at, Some(acks[0].at()));
    }
}

/// Invariants 3 and 7: an ack against the sweep at the end of the file's time: either it is acked
/// and nothing says that it expired unacked, or it is not and the feed says so once.
pub async fn an_ack_and_an_expiry_agree_on_who_was_first(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    for round in 0..20 {
        let workspace = subject.workspace().await;
        let file = subject.publish(workspace, b"hello").await.file_id;
        let (acking, sweeping) = (subject.either(round), subject.either(round / 2));
        let (clock, ttl) = (Arc::clone(&subject.clock), subject.ttl);
        let ack = tokio::spawn(async move { acking.storage.ack(workspace, file).await });
        let expiry = tokio::spawn(async move {
            clock.advance(ttl);
            sweep(&*sweeping.storage, &SweepPolicy::default()).await
        });
        let acked = ack.await.unwrap();
        let mut swept = expiry.await.unwrap();
        swept.extend(subject.sweep().await);
        let reason = match acked {
            Ok(_) => SweepReason::Acked,
            Err(Error::NotFound) => SweepReason::Expired,
            Err(error) => panic!("{error:?}"),
        };
        assert_eq!(swept.len(), 1, "round {round}");
        assert_eq!((swept[0].file_id, swept[0].reason), (file, reason));
        let told = expiries(&subject.feed(workspace).await);
        let expected = if reason == SweepReason::Expired {
            vec![file]
        } else {
            vec![]
        };
        assert_eq!(told, expected, "round {round}");
    }
}

fn expiries(rows: &[Activity]) -> Vec<FileId> {
    rows.iter()
        .filter(|row| row.content.activity_type == ActivityType::CHAT_UPLOAD_EXPIRED)
        .filter_map(file_of)
        .collect()
}

/// Invariant 3: acks against a sweep that forgets acked files at once: one ack is the first, and a
/// later one finds the file acked or gone, never waiting.
pub async fn acks_against_a_sweep_are_answered_once_as_the_first(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let policy = SweepPolicy {
        ack_retention: Duration::ZERO,
        ..SweepPolicy::default()
    };
    let workspace = subject.workspace().await;
    for _ in 0..20 {
        let file = subject.publish(workspace, b"hello").await.file_id;
        let sweeper = subject.either(1).storage;
        let sweeping = tokio::spawn(async move {
            for _ in 0..4 {
                sweep(&*sweeper, &policy).await;
            }
        });
        let acks = at_once((0..4).map(|number| {
            let storage = subject.either(number).storage;
            async move { storage.ack(workspace, file).await }
        }))
        .await;
        sweeping.await.unwrap();
        let first = acks
            .iter()
            .filter(|ack| matches!(ack, Ok(Acked::First { .. })))
            .count();
        assert_eq!(first, 1, "{acks:?}");
        let others_fit = acks
            .iter()
            .all(|ack| matches!(ack, Ok(_) | Err(Error::NotFound)));
        assert!(others_fit, "{acks:?}");
    }
    assert_eq!(subject.waiting(workspace).await, []);
}

/// Invariant 2: readers who follow their cursors while many publish and append, small and large,
/// on several instances and for several workspaces, see every row once and the numbers without a
/// gap.
pub async fn a_polling_reader_misses_nothing_that_is_published(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let mut readers = Vec::new();
    let mut workspaces = Vec::new();
    for number in 0..3 {
        let workspace = subject.workspace().await;
        let cursor = subject.cursor(workspace).await;
        let reader = follow(subject.clone(), number, workspace, cursor);
        readers.push(tokio::spawn(reader));
        workspaces.push(workspace);
    }
    let published = at_once((0..12).map(|number| {
        let workspace = workspaces[number % 3];
        write_some(subject.clone(), number, workspace)
    }))
    .await;
    let mut expected: HashMap<WorkspaceId, HashSet<FileId>> = HashMap::new();
    for upload in published.into_iter().flatten() {
        let files = expected.entry(upload.workspace_id).or_default();
        assert!(files.insert(upload.file_id));
    }
    for (reader, workspace) in readers.into_iter().zip(workspaces) {
        let rows = reader.await.unwrap();
        assert_eq!(seqs(&rows), dense(ROWS_FOR_EACH + 1)[1..]);
        let seen: HashSet<_> = rows.iter().filter_map(file_of).collect();
        assert_eq!(seen, expected[&workspace]);
    }
}

/// Rows that each of three workspaces is sent by four writers: three batches of three files and
/// three messages.
const ROWS_FOR_EACH: usize = 4 * (3 * 3 + 3);

/// Publishes batches of a large file between small ones, and messages.
async fn write_some(subject: Subject, number: usize, workspace: WorkspaceId) -> Vec<PendingUpload> {
    let here = subject.either(number / 3);
    let mut published = Vec::new();
    for round in 0..3 {
        let mut batch = here.storage.begin(workspace).await.unwrap();
        add_file(&mut *batch, "small", b"small").await;
        let length = if round == 1 { MIB + MIB / 2 } else { 9000 };
        add_file(&mut *batch, "large", &noise(length, 1)).await;
        add_file(&mut *batch, "small", b"small").await;
        published.extend(batch.publish().await.unwrap());
        let message = message(workspace, 1);
        here.activity.append(workspace, message).await.unwrap();
    }
    published
}

/// Polls until it has as many rows as it will be sent; each batch must come whole.
async fn follow(
    subject: Subject,
    number: usize,
    workspace: WorkspaceId,
    mut cursor: ActivityId,
) -> Vec<Activity> {
    let here = subject.either(number);
    let mut rows: Vec<Activity> = Vec::new();
    while rows.len() < ROWS_FOR_EACH {
        let query = after(cursor);
        let page = if number == 0 {
            here.activity.list(workspace, &query).await.unwrap()
        } else {
            here.activity
                .wait(workspace, &query, PATIENCE)
                .await
                .unwrap()
        };
        let files = page.iter().filter(|row| file_of(row).is_some()).count();
        assert_eq!(files % 3, 0, "a batch came in two pieces");
        cursor = page.last().map_or(cursor, |row| row.id);
        rows.extend(page);
    }
    rows
}

/// Invariant 1: who lists while a batch is published sees all of its files or none.
pub async fn a_batch_is_seen_whole_or_not_at_all(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let batches = 10;
    let lister = Arc::clone(&subject.elsewhere.storage);
    let listing = tokio::spawn(async move {
        loop {
            let files = lister.list(workspace, None, 1000).await.unwrap().len();
            assert_eq!(files % 7, 0);
            if files == batches * 7 {
                return;
            }
        }
    });
    for _ in 0..batches {
        subject.publish_many(workspace, 7).await;
    }
    listing.await.unwrap();
}

/// Invariant 2: rows appended at once, on every instance, are numbered without a gap.
pub async fn rows_appended_at_once_are_numbered_without_a_gap(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let mut appended: Vec<_> = at_once((0..40).map(|number| {
        let activity = subject.either(number).activity;
        async move {
            let row = activity.append(workspace, message(workspace, 1)).await;
            row.unwrap().seq.0
        }
    }))
    .await;
    appended.sort_unstable();
    assert_eq!(appended, dense(40));
    assert_eq!(seqs(&subject.feed(workspace).await), dense(40));
}

/// Invariant 3: who reads while the file is acked gets all of its bytes or an error, and never a
/// file cut short.
pub async fn a_reader_during_an_ack_is_never_short(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let data = noise(3 * MIB + 1, 1);
    for round in 0..8 {
        let file = subject.publish(workspace, &data).await.file_id;
        let reads = (0..4).map(|number| {
            let storage = subject.either(number).storage;
            async move { storage.read_whole(workspace, file, u64::MAX).await }
        });
        let reads = tokio::spawn(at_once(reads.collect::<Vec<_>>()));
        for _ in 0..round * 10 {
            tokio::task::yield_now().await;
        }
        subject.storage.ack(workspace, file).await.unwrap();
        for read in reads.await.unwrap() {
            match read {
                Ok(read) => assert!(read == data, "round {round}: {} bytes", read.len()),
                Err(error) => assert!(matches!(error, Error::NotFound), "{error:?}"),
            }
        }
    }
}

/// Invariant 7: sweepers at work at once delete each file once, and the feed tells of each once.
pub async fn sweepers_at_once_delete_each_file_once(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    let workspace = subject.workspace().await;
    let mut published = Vec::new();
    for _ in 0..4 {
        published.extend(ids(&subject.publish_many(workspace, 40).await));
    }
    subject.clock.advance(subject.ttl);
    let swept = at_once((0..4).map(|number| {
        let storage = subject.either(number).storage;
        async move { sweep(&*storage, &SweepPolicy::default()).await }
    }))
    .await;
    let mut files: Vec<_> = swept
        .into_iter()
        .flatten()
        .map(|file| file.file_id)
        .collect();
    files.extend(subject.sweep().await.iter().map(|file| file.file_id));
    files.sort_unstable();
    assert_eq!(files, published);
    let rows = subject.feed(workspace).await;
    assert_eq!(seqs(&rows), dense(320));
    let mut told = expiries(&rows);
    told.sort_unstable();
    assert_eq!(told, published);
}

/// Invariant 1: a publish against the sweep of its own batch: all of it is there, or nothing and
/// the publisher was told.
pub async fn a_publish_and_the_sweep_of_its_batch_agree(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    for round in 0..10 {
        let workspace = subject.workspace().await;
        let mut batch = subject.batch(workspace).await;
        let data = noise(2 * MIB + 1, 1);
        add_file(&mut *batch, "a", &data).await;
        add_file(&mut *batch, "b", b"small").await;
        subject.let_leases_run_out();
        let sweeper = subject.either(round).storage;
        let sweeping = tokio::spawn(async move { sweep(&*sweeper, &SweepPolicy::default()).await });
        match batch.publish().await {
            Ok(published) => {
                assert!(subject.bytes(&published[0]).await == data);
                assert_eq!(subject.bytes(&published[1]).await, b"small");
            }
            Err(Error::BatchAbandoned) => {
                assert_eq!(subject.waiting(workspace).await, []);
                assert_eq!(subject.feed(workspace).await, []);
            }
            Err(error) => panic!("round {round}: {error:?}"),
        }
        sweeping.await.unwrap();
    }
}

/// `Workspaces::register`: of first registrations of one id at once, one creates it and gets its
/// token; the others find it existing.
pub async fn of_first_registrations_at_once_one_gets_the_token(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    for _ in 0..5 {
        let id = WorkspaceId::generate();
        let answers = at_once((0..8).map(|number| {
            let workspaces = subject.either(number).workspaces;
            async move {
                workspaces
                    .register(Registration::polling(id), Registrar::Anonymous)
                    .await
            }
        }))
        .await;
        let mut tokens = Vec::new();
        for answer in answers {
            match answer {
                Ok(registered) => tokens.push(registered.auth_token.unwrap()),
                Err(error) => assert!(matches!(error, Error::Unauthorized), "{error:?}"),
            }
        }
        assert_eq!(tokens.len(), 1);
        let seen = subject.workspaces.authenticate(id, &tokens[0]).await;
        assert!(seen.unwrap().is_some());
    }
}

/// `Workspaces::register`: an admin who registers one id twice at once is refused neither time,
/// and gets one token.
pub async fn an_admin_who_registers_twice_at_once_gets_one_token(fixture: &dyn Fixture) {
    let subject = fixture.subject(Terms::default()).await;
    for _ in 0..5 {
        let id = WorkspaceId::generate();
        let answers = at_once((0..8).map(|number| {
            let workspaces = subject.either(number).workspaces;
            async move {
                workspaces
                    .register(Registration::polling(id), Registrar::Admin)
                    .await
            }
        }))
        .await;
        let tokens = answers
            .into_iter()
            .filter_map(|answer| answer.unwrap().auth_token)
            .count();
        assert_eq!(tokens, 1);
    }
}
