//! Progress bars on stderr, when a terminal is there to show them.

use std::collections::HashMap;
use std::io::{self, IsTerminal};
use std::sync::{Mutex, MutexGuard, PoisonError};

use inbox_client::{Observer, WaitingFile};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use pending_uploads_core::FileId;

const KNOWN_LENGTH: &str = "{prefix:24!} [{bar:24}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
const UNKNOWN_LENGTH: &str = "{prefix:24!} {bytes} {bytes_per_sec}";

/// The bars of this process. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bars(Option<MultiProgress>);

/// A bar for each fetch.
#[derive(Debug)]
pub(crate) struct FetchBars {
    bars: Bars,
    of_files: Mutex<HashMap<FileId, ProgressBar>>,
}

impl Bars {
    /// Bars that are shown if stderr is a terminal.
    pub(crate) fn on_terminal() -> Self {
        Self(io::stderr().is_terminal().then(MultiProgress::new))
    }

    /// Whether anybody sees them.
    pub(crate) fn are_shown(&self) -> bool {
        self.0.is_some()
    }

    /// Does something that writes to the terminal, while there are no bars on it.
    pub(crate) fn aside<R>(&self, write: impl FnOnce() -> R) -> R {
        match &self.0 {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    /// A bar for `bytes` bytes, as far as that is known, of which `done` are done.
    pub(crate) fn add(&self, name: &str, bytes: Option<u64>, done: u64) -> ProgressBar {
        let Some(bars) = &self.0 else {
            return ProgressBar::hidden();
        };
        let template = match bytes {
            Some(_) => KNOWN_LENGTH,
            None => UNKNOWN_LENGTH,
        };
        let style = ProgressStyle::with_template(template);
        let bar = bars.add(bytes.map_or_else(ProgressBar::no_length, ProgressBar::new));
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(name.to_owned());
        bar.set_position(done);
        bar.reset_eta();
        bar
    }
}

impl FetchBars {
    /// No bar yet.
    pub(crate) fn new(bars: Bars) -> Self {
        Self {
            bars,
            of_files: Mutex::default(),
        }
    }

    fn of_files(&self) -> MutexGuard<'_, HashMap<FileId, ProgressBar>> {
        self.of_files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for FetchBars {
    fn started(&self, file: &WaitingFile, from: u64) {
        let filename = &file.filename;
        let name = match filename.original() {
            "" => filename.as_str(),
            original => original,
        };
        let bar = self.bars.add(name, Some(file.size_bytes.get()), from);
        self.of_files().insert(file.file_id, bar);
    }

    fn advanced(&self, file_id: FileId, bytes: u64) {
        if let Some(bar) = self.of_files().get(&file_id) {
            bar.inc(bytes);
        }
    }

    fn ended(&self, file_id: FileId) {
        if let Some(bar) = self.of_files().remove(&file_id) {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bars_are_drawn_as_they_are_meant() {
        assert!(ProgressStyle::with_template(KNOWN_LENGTH).is_ok());
        assert!(ProgressStyle::with_template(UNKNOWN_LENGTH).is_ok());
    }
}
