//! The disk's floor: `dd`, in the folder that the data folder is in.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::FloorError;
use crate::error::BenchError;
use crate::load::{Extent, Worker, Yield, drive};

/// Writes files of `size` bytes in `folder`, `at_once` of them at a time, each by a `dd` of its own
/// that syncs what it wrote. A later file replaces an earlier one; none is left.
pub(crate) async fn write(
    folder: &Path,
    size: u64,
    at_once: usize,
    extent: Extent,
) -> Result<Yield, BenchError> {
    let places = Place::make(folder, at_once)?;
    let writers = places.paths.iter().map(|path| Dd::writing(path, size));
    drive(writers.collect(), extent).await
}

/// Reads such files back, `at_once` of them at a time. They were written before the clock ran, and
/// so lie in the system's cache as far as it has room, as the files of a server do.
pub(crate) async fn read(
    folder: &Path,
    size: u64,
    at_once: usize,
    extent: Extent,
) -> Result<Yield, BenchError> {
    let places = Place::make(folder, at_once)?;
    for path in &places.paths {
        Dd::writing(path, size).turn().await?;
    }
    let readers = places.paths.iter().map(|path| Dd::reading(path, size));
    drive(readers.collect(), extent).await
}

/// A folder of one's own, and the files in it.
struct Place {
    paths: Vec<PathBuf>,
    _folder: tempfile::TempDir,
}

impl Place {
    fn make(folder: &Path, count: usize) -> Result<Self, FloorError> {
        let own = tempfile::Builder::new()
            .prefix("floor-")
            .tempdir_in(folder)?;
        let path = |number: usize| own.path().join(number.to_string());
        Ok(Self {
            paths: (0..count).map(path).collect(),
            _folder: own,
        })
    }
}

/// One `dd` after the other, with the same operands.
struct Dd {
    operands: Vec<OsString>,
    size: u64,
}

impl Dd {
    fn writing(path: &Path, size: u64) -> Self {
        let from = OsString::from("if=/dev/zero");
        let count = format!("count={size}").into();
        let operands = ["iflag=count_bytes", "conv=fdatasync"].map(OsString::from);
        Self {
            operands: [from, named("of=", path), count]
                .into_iter()
                .chain(operands)
                .collect(),
            size,
        }
    }

    fn reading(path: &Path, size: u64) -> Self {
        Self {
            operands: vec![named("if=", path), "of=/dev/null".into()],
            size,
        }
    }

    async fn run(&self) -> Result<(), FloorError> {
        let output = Command::new("dd")
            .args(["bs=1M", "status=none"])
            .args(&self.operands)
            .stdin(Stdio::null())
            .output()
            .await?;
        if output.status.success() {
            return Ok(());
        }
        Err(FloorError::Dd {
            status: output.status,
            said: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

fn named(operand: &str, path: &Path) -> OsString {
    let mut named = OsString::from(operand);
    named.push(path);
    named
}

impl Worker for Dd {
    async fn turn(&mut self) -> Result<u64, BenchError> {
        self.run().await?;
        Ok(self.size)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    const FEW: Extent = Extent {
        duration: Duration::from_mins(1),
        turns: 3,
    };

    #[tokio::test]
    async fn dd_writes_as_many_bytes_as_it_was_told_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one");
        Dd::writing(&path, 2_500_000).turn().await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 2_500_000);
        fs::remove_file(path).unwrap();

        for yielded in [
            write(folder.path(), 2_500_000, 2, FEW).await.unwrap(),
            read(folder.path(), 2_500_000, 2, FEW).await.unwrap(),
        ] {
            assert_eq!((yielded.turns, yielded.bytes), (3, 7_500_000));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn what_dd_says_of_its_failure_is_handed_on() {
        let folder = tempfile::tempdir().unwrap();
        let error = Dd::reading(&folder.path().join("none"), 1)
            .run()
            .await
            .unwrap_err();
        assert!(error.to_string().contains("none"), "{error}");
    }
}
