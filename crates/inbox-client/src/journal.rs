//! The journal: what must outlive the process, and only that.
//!
//! One folder a workspace, `<state folder>/<workspace id>`, with a `lock` that its inbox holds and the
//! `journal`, a file of lines that is only ever appended to. Now and then it is written anew without
//! what is superseded, beside the old one, and takes its place when it is whole and synced.

mod disk;
mod error;
mod lines;
mod records;
#[cfg(test)]
pub(crate) mod tests;
mod wire;
mod writer;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use log::{trace, warn};
use pending_uploads_core::{Timestamp, WorkspaceId};
use url::Url;

pub(crate) use self::error::JournalError;
use self::lines::{Header, Sound, Unsound, VERSION};
pub(crate) use self::records::{
    ArrivedFile, Done, Entry, FileRecord, LostFile, Outcome, Position, Records,
};
pub(crate) use self::writer::{JournalWriter, WriteError};
use crate::folder::make_private;

/// A journal shorter than this, in bytes, is left as it is.
const WORTHWHILE_BYTES: u64 = 64 * 1024;

/// The journal of one workspace, which this process has to itself until this is dropped.
#[derive(Debug)]
pub(crate) struct Journal {
    folder: PathBuf,
    workspace: WorkspaceId,
    header: Header,
    file: File,
    /// How much of the file is sound, in bytes; whatever may follow counts as never written.
    len: u64,
    /// At which length it is looked at next whether it is worthwhile to write it anew.
    next_look: u64,
    state: State,
    /// The system lets it go when the process ends, however it ends.
    _lock: File,
}

/// Whether the file is as this process thinks that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Sound,
    /// What a failure left could not be taken back.
    Broken,
}

impl Journal {
    /// Opens the workspace's journal, or makes it, with the folders above it; answers what it says.
    ///
    /// What a crash left of the last append is cut off. When the journal is for another platform URL,
    /// that is logged, and the new one is recorded: platforms move.
    ///
    /// # Errors
    /// [`JournalError`]: in use by another process, damaged, of a newer version, of another workspace,
    /// or not to be read or written.
    pub(crate) fn open(
        state_folder: &Path,
        platform: &Url,
        workspace: WorkspaceId,
        now: Timestamp,
    ) -> Result<(Self, Records), JournalError> {
        let folder = disk::folder_in(state_folder, workspace);
        make_private(&folder).map_err(JournalError::unusable(&folder))?;
        let lock = disk::lock(&folder)?;
        let path = disk::journal_in(&folder);
        let header = Header::new(platform, workspace, now);
        let found = load(&path, workspace)?;
        let (file, found) = match found {
            Some(found) if found.header.platform == header.platform => {
                let file = disk::open_sound(&path, found.len);
                (file.map_err(JournalError::unusable(&path))?, found)
            }
            Some(found) => {
                log_move(workspace, &found.header, &header);
                write_anew(&folder, header, found.records)?
            }
            None => write_anew(&folder, header, Records::default())?,
        };
        // A process that was killed may have left a journal there whose name is not durable.
        disk::sync_folder(&folder).map_err(JournalError::unusable(&folder))?;
        disk::sync_folder(state_folder).map_err(JournalError::unusable(state_folder))?;
        let journal = Self {
            folder,
            workspace,
            header: found.header,
            file,
            len: found.len,
            next_look: WORTHWHILE_BYTES,
            state: State::Sound,
            _lock: lock,
        };
        Ok((journal, found.records))
    }

    /// What the workspace's journal says; none when there is none. Nothing is locked or changed, and an
    /// inbox may be writing it.
    ///
    /// # Errors
    /// As [`open`](Self::open), but for its being in use.
    pub(crate) fn read(
        state_folder: &Path,
        workspace: WorkspaceId,
    ) -> Result<Option<Records>, JournalError> {
        let path = disk::journal_in(&disk::folder_in(state_folder, workspace));
        Ok(load(&path, workspace)?.map(|found| found.records))
    }

    /// Appends all of `entries` with one write, and syncs it. They are one line: after a crash all of
    /// them are there, or none.
    ///
    /// # Errors
    /// [`JournalError::DiskFull`] and [`JournalError::Io`]: the journal is as it was before.
    /// [`JournalError::Broken`]: what an earlier failure left could not be taken back, and nothing is
    /// written until the journal is opened again.
    pub(crate) fn append(&mut self, entries: &[Entry]) -> Result<(), JournalError> {
        if self.state == State::Broken {
            return Err(JournalError::Broken);
        }
        if entries.is_empty() {
            return Ok(());
        }
        let line = lines::line(entries).map_err(io::Error::from)?;
        let written = self.file.write_all_at(&line, self.len);
        if let Err(error) = written.and_then(|()| self.file.sync_data()) {
            self.take_back();
            return Err(error.into());
        }
        self.len += line.len() as u64;
        entries.iter().for_each(log_journaled);
        Ok(())
    }

    /// Undoes a failed append.
    fn take_back(&mut self) {
        let cut = self.file.set_len(self.len);
        if cut.and_then(|()| self.file.sync_data()).is_err() {
            self.state = State::Broken;
        }
    }

    /// Writes the journal anew if what is superseded in it outweighs what counts, and it is not short
    /// anyway. It is looked at when it has doubled since the last look, so that this may be called
    /// after every append.
    ///
    /// What is forgotten with it: files about which nothing is left to do, that are not on the disk any
    /// more, and that arrived or were lost more than 35 days before `now`.
    ///
    /// # Errors
    /// [`JournalError::DiskFull`], [`JournalError::Io`] and [`JournalError::Damaged`]: the journal is as
    /// it was before. [`JournalError::Broken`] as for [`append`](Self::append).
    pub(crate) fn compact_if_worthwhile(&mut self, now: Timestamp) -> Result<(), JournalError> {
        if self.len < self.next_look || self.state == State::Broken {
            return Ok(());
        }
        self.next_look = self.len.saturating_mul(2);
        let bytes = self.whole_after_compaction(now)?;
        let len = bytes.len() as u64;
        if len.saturating_mul(2) <= self.len {
            self.replace(&bytes)?;
        }
        self.next_look = len.saturating_mul(2).max(WORTHWHILE_BYTES);
        Ok(())
    }

    fn whole_after_compaction(&self, now: Timestamp) -> Result<Vec<u8>, JournalError> {
        let len = usize::try_from(self.len).map_err(io::Error::other)?;
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, 0)?;
        let path = disk::journal_in(&self.folder);
        // A journal that is open has a header.
        let found = parse(&path, &bytes, self.workspace)?.ok_or(JournalError::Broken)?;
        let mut records = found.records;
        records.forget_old(now);
        Ok(lines::whole(&self.header, &records).map_err(io::Error::from)?)
    }

    fn replace(&mut self, bytes: &[u8]) -> Result<(), JournalError> {
        let file = disk::write_beside(&self.folder, bytes)?;
        disk::put_in_place(&self.folder)?;
        self.file = file;
        self.len = bytes.len() as u64;
        disk::sync_folder(&self.folder).map_err(|error| {
            // Which of the two a crash would leave is not known.
            self.state = State::Broken;
            JournalError::from(error)
        })?;
        trace!(step = "compacted", workspace_id:% = self.workspace; "the journal was written anew");
        Ok(())
    }
}

/// What the journal at `path` says, if there is one.
fn load(path: &Path, workspace: WorkspaceId) -> Result<Option<Sound>, JournalError> {
    match disk::read_whole(path).map_err(JournalError::unusable(path))? {
        Some(bytes) => parse(path, &bytes, workspace),
        None => Ok(None),
    }
}

fn parse(path: &Path, bytes: &[u8], workspace: WorkspaceId) -> Result<Option<Sound>, JournalError> {
    let path = || path.to_owned();
    match lines::read(bytes) {
        Ok(Some(found)) if !found.header.is_for(workspace) => {
            Err(JournalError::OtherWorkspace { path: path() })
        }
        Ok(found) => Ok(found),
        Err(Unsound::Damaged(line)) => Err(JournalError::Damaged { path: path(), line }),
        Err(Unsound::Newer(found)) => Err(JournalError::Newer {
            path: path(),
            found,
            known: VERSION,
        }),
    }
}

/// Makes a journal that says what `records` say, in the place of the one that may be there.
fn write_anew(
    folder: &Path,
    header: Header,
    records: Records,
) -> Result<(File, Sound), JournalError> {
    let bytes = lines::whole(&header, &records).map_err(io::Error::from)?;
    let written = disk::write_beside(folder, &bytes).and_then(|file| {
        disk::put_in_place(folder)?;
        disk::sync_folder(folder)?;
        Ok(file)
    });
    let file = written.map_err(JournalError::unusable(folder))?;
    let len = bytes.len() as u64;
    Ok((
        file,
        Sound {
            header,
            records,
            len,
        },
    ))
}

fn log_move(workspace: WorkspaceId, before: &Header, now: &Header) {
    warn!(
        workspace_id:% = workspace,
        platform_url = now.platform.as_str(),
        platform_url_before = before.platform.as_str();
        "the state was made with another platform URL; going on with the new one"
    );
}

/// Logs that an entry is durable, on the thread that wrote it and before that thread does anything
/// else.
///
/// Tests rely on it: a logger that ends the process at a record leaves the disk exactly as it is
/// between this step and the next one. Entries that were written together are durable together.
fn log_journaled(entry: &Entry) {
    let (entry, file_id) = match entry {
        Entry::Cursor(_) => ("cursor", None),
        Entry::Arrived(arrived) => ("arrived", Some(arrived.file.file_id)),
        Entry::Lost(lost) => ("lost", Some(lost.uri.file_id)),
        Entry::Acked(file_id) => ("acked", Some(*file_id)),
        Entry::Confirmed(file_id) | Entry::LossConfirmed(file_id) => ("confirmed", Some(*file_id)),
        Entry::MessageConfirmed(..) => ("message_confirmed", None),
    };
    if let Some(file_id) = file_id {
        trace!(step = "journaled", entry = entry, file_id:% = file_id; "an entry is durable");
    } else {
        trace!(step = "journaled", entry = entry; "an entry is durable");
    }
}
