//! When the inbox took which step of a file's way, as it logs them.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use log::kv::Key;
use log::{LevelFilter, Log, Metadata, Record};

/// The steps of a file's way, in their order, as they are logged; one that is logged more than once
/// counts when it was logged last. `arrived` is logged when the journal has it.
pub(crate) const STEPS: [&str; 6] = [
    "partial_made",
    "partial_grown",
    "synced",
    "placed",
    "folder_synced",
    "arrived",
];

/// When each of the steps was done.
pub(crate) type StepTimes = [Instant; STEPS.len()];

#[derive(Debug)]
struct Recorder(Mutex<[Option<Instant>; STEPS.len()]>);

static RECORDER: Recorder = Recorder(Mutex::new([None; STEPS.len()]));

/// Records every step from now on.
pub(crate) fn record() {
    log::set_logger(&RECORDER).unwrap();
    log::set_max_level(LevelFilter::Trace);
}

/// The steps of the file that was taken since the last call.
pub(crate) fn take() -> StepTimes {
    let times = std::mem::take(&mut *lock());
    times.map(|time| time.unwrap())
}

fn lock() -> std::sync::MutexGuard<'static, [Option<Instant>; STEPS.len()]> {
    RECORDER.0.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("inbox_client")
    }

    fn log(&self, record: &Record<'_>) {
        let now = Instant::now();
        if !self.enabled(record.metadata()) {
            return;
        }
        let step = record.key_values().get(Key::from_str("step"));
        let step = step.map_or_else(|| record.args().to_string(), |step| step.to_string());
        if let Some(index) = STEPS.iter().position(|known| *known == step) {
            lock()[index] = Some(now);
        }
    }

    fn flush(&self) {}
}
