//! What a process has used, as proc(5) tells it.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::param::clock_ticks_per_second;

use crate::error::BenchError;

/// Written to `clear_refs`, it makes the peak of the memory what the memory is now.
const FORGET_PEAK: &str = "5";

/// A process that runs.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    folder: PathBuf,
}

/// What `/proc/PID/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// Its own ticks in user and system mode, those of its threads included.
    own_ticks: u64,
    /// Those of its children that have ended and were waited for.
    childrens_ticks: u64,
}

impl Process {
    /// The process with that id.
    pub(crate) fn of(pid: u32) -> Self {
        Self {
            folder: PathBuf::from(format!("/proc/{pid}")),
        }
    }

    /// The one that runs this.
    pub(crate) fn own() -> Self {
        Self {
            folder: PathBuf::from("/proc/self"),
        }
    }

    /// The CPU time that it has used, in all its threads.
    pub(crate) fn cpu_seconds(&self) -> Result<f64, BenchError> {
        Ok(seconds(self.stat()?.own_ticks))
    }

    /// How many bytes it made the system write to a disk, or was about to.
    pub(crate) fn written_bytes(&self) -> Result<u64, BenchError> {
        self.field("io", "write_bytes:")
    }

    /// The most memory that it had since it began, or since that was forgotten; in bytes.
    pub(crate) fn peak_memory(&self) -> Result<u64, BenchError> {
        Ok(self.field("status", "VmHWM:")? * 1024)
    }

    /// The memory that it has; in bytes.
    pub(crate) fn memory(&self) -> Result<u64, BenchError> {
        Ok(self.field("status", "VmRSS:")? * 1024)
    }

    /// Lets the peak of its memory begin anew.
    pub(crate) fn forget_peak_memory(&self) -> Result<(), BenchError> {
        let path = self.folder.join("clear_refs");
        fs::write(&path, FORGET_PEAK).map_err(|source| BenchError::File { path, source })
    }

    fn stat(&self) -> Result<Stat, BenchError> {
        let path = self.folder.join("stat");
        parse_stat(&read(&path)?).ok_or(BenchError::Meter { path })
    }

    fn field(&self, file: &str, name: &str) -> Result<u64, BenchError> {
        let path = self.folder.join(file);
        parse_field(&read(&path)?, name).ok_or(BenchError::Meter { path })
    }
}

/// The CPU time of a process, of its children, and of children that are gone: a PostgreSQL server
/// with its backends.
pub(crate) fn cpu_of_family(pid: u32) -> Result<f64, BenchError> {
    let head = Process::of(pid).stat()?;
    let children: u64 = everybody()?
        .iter()
        .filter(|stat| stat.parent == pid)
        .map(|stat| stat.own_ticks + stat.childrens_ticks)
        .sum();
    Ok(seconds(head.own_ticks + head.childrens_ticks + children))
}

fn everybody() -> Result<Vec<Stat>, BenchError> {
    let path = PathBuf::from("/proc");
    let entries = fs::read_dir(&path).map_err(|source| BenchError::File { path, source })?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    // Who has ended in between is nobody's child any more.
    Ok(pids
        .filter_map(|pid| Process::of(pid).stat().ok())
        .collect())
}

fn read(path: &Path) -> Result<String, BenchError> {
    fs::read_to_string(path).map_err(|source| BenchError::File {
        path: path.to_owned(),
        source,
    })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "figures have few significant digits"
)]
fn seconds(ticks: u64) -> f64 {
    ticks as f64 / clock_ticks_per_second() as f64
}

/// The name of a process is in parentheses and may hold anything: what counts comes after the last
/// one. The fields are numbered from there on: the third of the line is the first.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, after) = text.rsplit_once(") ")?;
    let fields: Vec<_> = after.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        own_ticks: number(11)? + number(12)?,
        childrens_ticks: number(13)? + number(14)?,
    })
}

fn parse_field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ticks_of_a_process_whose_name_has_parentheses_are_found() {
        let text = "42 (a) b) S 7 42 42 0 -1 4194304 1 2 3 4 100 20 3 1 20 0 5 0 900 1 2";
        let expected = Stat {
            parent: 7,
            own_ticks: 120,
            childrens_ticks: 4,
        };
        assert_eq!(parse_stat(text), Some(expected));
        assert_eq!(parse_stat("42 (a"), None);
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "Name:\tx\nVmPeak:\t  9 kB\nVmHWM:\t  1234 kB\n";
        assert_eq!(parse_field(text, "VmHWM:"), Some(1234));
        assert_eq!(parse_field(text, "VmRSS:"), None);
    }

    #[test]
    fn this_process_uses_cpu_and_memory() {
        let own = Process::own();
        let before = own.cpu_seconds().unwrap();
        let mut sum = 0_u64;
        while own.cpu_seconds().unwrap() <= before {
            sum = (0..1_000_000).fold(sum, |sum, number| std::hint::black_box(sum ^ number));
        }
        assert!(own.memory().unwrap() > 0);
        own.forget_peak_memory().unwrap();
        assert!(own.peak_memory().unwrap() >= own.memory().unwrap() / 2);
        assert!(cpu_of_family(std::process::id()).unwrap() > 0.0);
    }
}
