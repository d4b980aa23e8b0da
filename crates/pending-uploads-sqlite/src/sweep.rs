//! The sweep: deletes what nobody will come for, in short transactions, and gives the space back.

use std::io::ErrorKind;
use std::sync::Arc;

use log::warn;
use pending_uploads_core::{
    FileId, NewActivity, SweepPolicy, SweepReason, Swept, SweptFile, Timestamp, WorkspaceId,
};
use rusqlite::{Connection, Row, params};

use crate::bundle::{self, Leftover, Slot};
use crate::database::Database;
use crate::error::SqliteError;
use crate::feed_rows;
use crate::folder::Folder;
use crate::readers::Readers;
use crate::rows::{self, Id, Location, Time, location_columns};
use crate::staged::delete_or_warn;
use crate::writer::Promise;

/// How many files one transaction deletes at most. Their bytes in the database are few: larger files
/// lie beside it.
macro_rules! candidates {
    ($condition:literal, $order:literal) => {
        concat!(
            "SELECT file_id, workspace_id, filename, original_name, size_bytes, \
                 acked_at IS NOT NULL AS acked, ",
            location_columns!(),
            " FROM pending_uploads WHERE ",
            $condition,
            " ORDER BY ",
            $order,
            " LIMIT 100"
        )
    };
}
const ACKED: &str = candidates!("acked_at <= ?1", "acked_at");
const ACKED_EXPIRED: &str = candidates!("acked_at IS NOT NULL AND expires_at <= ?1", "expires_at");
const EXPIRED: &str = candidates!("acked_at IS NULL AND expires_at <= ?1", "expires_at");

const DELETE_UPLOAD: &str = "DELETE FROM pending_uploads WHERE file_id = ?1";
const DELETE_BYTES: &str = "DELETE FROM pending_upload_bytes WHERE file_id = ?1";
/// Gives pages that are free back to the file system, a few at a time.
const GIVE_BACK: &str = "PRAGMA incremental_vacuum(4096)";

/// Sweeps one step of each kind: of acked files, of expired ones, acked and not, and of abandoned
/// ones. None of them waits until another is done, however much of that there is.
pub(crate) async fn step(
    database: Database,
    policy: SweepPolicy,
    now: Timestamp,
) -> pending_uploads_core::Result<Swept> {
    let acked_until = now.saturating_sub(policy.ack_retention);
    let silent_since = now.saturating_sub(policy.staging_lease);
    let staged = database.staged().clone();
    let parts = [
        sweep_published(&database, ACKED, acked_until, now).await,
        sweep_published(&database, ACKED_EXPIRED, now, now).await,
        sweep_published(&database, EXPIRED, now, now).await,
        database
            .blocking(move || Ok(staged.sweep_one(silent_since)))
            .await,
    ];
    Swept::of_parts(parts.map(|part| Ok(part?)))
}

struct Candidate {
    file: SweptFile,
    location: Location,
}

/// What one transaction has deleted, and what of it is still beside the database.
struct Deleted {
    files: Vec<SweptFile>,
    leftovers: Vec<Leftover>,
}

/// The rows go first, and durably. A file that a crash then leaves is deleted when the folder is next
/// opened; a stretch of a bundle with the bundle.
async fn sweep_published(
    database: &Database,
    candidates: &'static str,
    until: Timestamp,
    now: Timestamp,
) -> Result<Vec<SweptFile>, SqliteError> {
    let work = move |connection: &Connection| delete_published(connection, candidates, until, now);
    let deleted = database.writer().write(Promise::Durable, work).await?;
    for file in &deleted.files {
        if file.reason == SweepReason::Expired {
            database.signals().signal(file.workspace_id);
        }
    }
    let (folder, readers) = (Arc::clone(database.folder()), database.readers().clone());
    database
        .blocking(move || {
            delete_leftovers(&folder, &readers, &deleted.leftovers);
            Ok(deleted.files)
        })
        .await
}

/// A stretch of a bundle is read as zeros once its room is given back: those who looked its file up
/// before that was deleted are waited for. A file that is deleted while it is open stays as it is.
fn delete_leftovers(folder: &Folder, readers: &Readers, leftovers: &[Leftover]) {
    let mut stretches = Vec::new();
    for leftover in leftovers {
        match *leftover {
            Leftover::Nothing => {}
            Leftover::File(file) => {
                delete_or_warn(folder, file);
                // The bundle's other files that were deleted just now are gone with it.
                stretches.retain(|(slot, _): &(Slot, u64)| slot.bundle != file);
            }
            Leftover::Stretch(slot, bytes) => stretches.push((slot, bytes)),
        }
    }
    if stretches.is_empty() {
        return;
    }
    readers.those_who_read().wait();
    for (slot, bytes) in stretches {
        let given_back = folder.give_back(slot.bundle, slot.offset, bytes);
        // A bundle that is gone takes no room.
        if let Err(error) = given_back
            && error.kind() != ErrorKind::NotFound
        {
            warn!(bundle:% = slot.bundle, error:%; "the room of a deleted file is not given back yet");
        }
    }
}

fn delete_published(
    connection: &Connection,
    candidates: &str,
    until: Timestamp,
    now: Timestamp,
) -> Result<Deleted, SqliteError> {
    let mut select = connection.prepare_cached(candidates)?;
    let mut found = select.query(params![Time(until)])?;
    let mut candidates = Vec::new();
    while let Some(row) = found.next()? {
        candidates.push(candidate(row)?);
    }
    let mut leftovers = Vec::new();
    for candidate in &candidates {
        leftovers.push(delete_one(connection, candidate)?);
        if candidate.file.reason == SweepReason::Expired {
            append_expiry(connection, &candidate.file, now)?;
        }
    }
    if !candidates.is_empty() {
        give_back(connection)?;
    }
    let files = candidates.into_iter().map(|candidate| candidate.file);
    Ok(Deleted {
        files: files.collect(),
        leftovers,
    })
}

fn delete_one(
    connection: &Connection,
    Candidate { file, location }: &Candidate,
) -> Result<Leftover, SqliteError> {
    let id = Id(file.file_id.as_uuid());
    connection.prepare_cached(DELETE_UPLOAD)?.execute([id])?;
    match *location {
        Location::Row => {
            connection.prepare_cached(DELETE_BYTES)?.execute([id])?;
            Ok(Leftover::Nothing)
        }
        Location::File => Ok(Leftover::File(file.file_id)),
        Location::Bundle(slot) => bundle::leave(connection, slot, file.size_bytes),
    }
}

/// The statement is one step for each page.
fn give_back(connection: &Connection) -> Result<(), SqliteError> {
    let mut pages = connection.prepare(GIVE_BACK)?;
    let mut given = pages.query([])?;
    while given.next()?.is_some() {}
    Ok(())
}

/// A workspace that is gone has no feed to say it in.
fn append_expiry(
    connection: &Connection,
    file: &SweptFile,
    now: Timestamp,
) -> Result<(), SqliteError> {
    let row = NewActivity::expiry(file);
    match feed_rows::append(connection, file.workspace_id, &row, now) {
        Ok(_) | Err(SqliteError::UnknownWorkspace) => Ok(()),
        Err(error) => Err(error),
    }
}

fn candidate(row: &Row<'_>) -> Result<Candidate, SqliteError> {
    let reason = if row.get("acked")? {
        SweepReason::Acked
    } else {
        SweepReason::Expired
    };
    let file = SweptFile {
        file_id: FileId::from_uuid(row.get::<_, Id>("file_id")?.0),
        workspace_id: WorkspaceId::from_uuid(row.get::<_, Id>("workspace_id")?.0),
        // A damaged name must not keep the file for ever.
        filename: rows::filename(row).ok(),
        size_bytes: rows::byte_count(row, "size_bytes")?,
        reason,
    };
    Ok(Candidate {
        file,
        location: rows::location(row)?,
    })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::mpsc;

    use pending_uploads_core::{Filename, ManualClock, Mimetype, Storage, StorageConfig};
    use tokio::sync::oneshot;

    use super::*;
    use crate::files::read_at;
    use crate::{SqliteStorage, testing};

    const SIZE: usize = 100_000;

    /// Publishes four files that lie in one bundle, and acks the first.
    async fn bundled(database: &Database, clock: &Arc<ManualClock>) -> (SqliteStorage, FileId) {
        let workspace = testing::workspace(database, clock).await;
        let files = SqliteStorage::new(database, StorageConfig::default(), clock.clone());
        let mut batch = files.begin(workspace).await.unwrap();
        for _ in 0..4 {
            let name = Filename::sanitize("x");
            batch.start_file(name, Mimetype::absent()).await.unwrap();
            batch.write(&vec![7; SIZE]).await.unwrap();
            batch.finish_file().await.unwrap();
        }
        let first = batch.publish().await.unwrap().remove(0).file_id;
        files.ack(workspace, first).await.unwrap();
        clock.advance(SweepPolicy::default().ack_retention);
        (files, first)
    }

    /// None when its record is gone.
    fn slot_of(connection: &Connection, file: FileId) -> Result<Option<Slot>, SqliteError> {
        let sql = "SELECT placement, bundle_id, bundle_offset FROM pending_uploads \
             WHERE file_id = ?1";
        let mut select = connection.prepare(sql)?;
        let mut found = select.query([Id(file.as_uuid())])?;
        match found.next()?.map(rows::location).transpose()? {
            Some(Location::Bundle(slot)) => Ok(Some(slot)),
            _ => Ok(None),
        }
    }

    #[tokio::test]
    async fn whoever_looked_a_file_up_before_it_was_swept_reads_no_hole() {
        let place = tempfile::tempdir().unwrap();
        let database = Database::open(place.path()).unwrap();
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_micros(0)));
        let (files, first) = bundled(&database, &clock).await;
        let (tell, told) = oneshot::channel();
        let (release, released) = mpsc::channel::<()>();
        let (readers, folder) = (database.readers().clone(), Arc::clone(database.folder()));
        let reading = tokio::spawn(async move {
            let look = move |connection: &Connection| slot_of(connection, first);
            let then = move |slot: Option<Slot>| {
                let slot = slot.ok_or(SqliteError::NotFound)?;
                let held = tell.send(slot).is_ok() && released.recv().is_err();
                let mut bundle = File::open(folder.file(slot.bundle))?;
                let data = read_at(&mut bundle, slot.offset, SIZE as u64)?;
                Ok((held, data))
            };
            readers.read_then(look, then).await
        });
        let slot = told.await.unwrap();
        let sweeping = tokio::spawn(async move { files.sweep(&SweepPolicy::default()).await });
        let look = move |connection: &Connection| slot_of(connection, first);
        while database.readers().read(look).await.unwrap().is_some() {}
        // A sweep that did not wait would have made the hole by now.
        for _ in 0..100 {
            database.readers().read(look).await.unwrap();
        }
        drop(release);
        let (held, data) = reading.await.unwrap().unwrap();
        assert!(held && data == vec![7; SIZE]);
        assert_eq!(sweeping.await.unwrap().unwrap().files.len(), 1);
        if cfg!(target_os = "linux") {
            let mut bundle = File::open(database.folder().file(slot.bundle)).unwrap();
            let data = read_at(&mut bundle, slot.offset, SIZE as u64).unwrap();
            assert!(data == vec![0; SIZE]);
        }
    }
}
