//! The disk's floor: `dd`, in the folder that the data folder is in.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::{Content, FloorError};
use crate::error::BenchError;
use crate::load::{Extent, Worker, Yield, drive};

const PIECE_BYTES: usize = 1024 * 1024;

/// Writes files of `size` bytes in `folder`, `at_once` of them at a time, each by a `dd` of its own
/// that syncs what it wrote. Each is a new one, as an upload is, and all are left there: to write over
/// a file whose pages are in the system's cache takes less, and so does memory that was just freed.
///
/// The bytes are random ones, out of the system's cache: there are disks to which zeros are no work.
pub(crate) async fn write(
    folder: &Path,
    size: u64,
    at_once: usize,
    extent: Extent,
) -> Result<Yield, BenchError> {
    let place = Place::make(folder, size)?;
    let writers = (0..at_once).map(|number| place.writing(number));
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
    let place = Place::make(folder, size)?;
    for number in 0..at_once {
        place.writing(number).turn().await?;
    }
    let readers = (0..at_once).map(|number| place.reading(number));
    drive(readers.collect(), extent).await
}

/// A folder with a file that the others are copies of.
struct Place<'a> {
    size: u64,
    folder: &'a Path,
}

impl<'a> Place<'a> {
    fn make(folder: &'a Path, size: u64) -> Result<Self, FloorError> {
        let place = Self { size, folder };
        let mut source = File::create_new(place.source())?;
        for piece in Content::random()?.pieces(size, PIECE_BYTES) {
            source.write_all(&piece)?;
        }
        // Or it would be written while the others are.
        source.sync_data()?;
        Ok(place)
    }

    fn source(&self) -> PathBuf {
        self.folder.join("source")
    }

    fn file(&self, number: usize) -> PathBuf {
        self.folder.join(number.to_string())
    }

    fn writing(&self, number: usize) -> Dd {
        Dd {
            from: self.source(),
            to: To::NewFiles(self.file(number)),
            written: 0,
            size: self.size,
        }
    }

    fn reading(&self, number: usize) -> Dd {
        Dd {
            from: first_of(&self.file(number)),
            to: To::Nowhere,
            written: 0,
            size: self.size,
        }
    }
}

/// Where a `dd` writes to.
enum To {
    /// To files whose names begin so, and syncs them.
    NewFiles(PathBuf),
    Nowhere,
}

/// The first file whose name begins so.
fn first_of(prefix: &Path) -> PathBuf {
    prefix.with_extension("0")
}

/// One `dd` after the other.
struct Dd {
    from: PathBuf,
    to: To,
    written: u64,
    size: u64,
}

impl Dd {
    async fn run(&mut self) -> Result<(), FloorError> {
        let to = match &self.to {
            To::NewFiles(prefix) => vec![
                named("of=", &prefix.with_extension(self.written.to_string())),
                "conv=fdatasync".into(),
            ],
            To::Nowhere => vec!["of=/dev/null".into()],
        };
        self.written += 1;
        let output = Command::new("dd")
            .args(["bs=1M", "status=none"])
            .arg(named("if=", &self.from))
            .args(to)
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
    async fn dd_writes_as_many_bytes_as_it_was_told_and_all_of_them_are_left() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::make(folder.path(), 2_500_000).unwrap();
        place.writing(1).turn().await.unwrap();
        let files = [first_of(&place.file(1)), place.source()];
        let [written, source] = files.map(|path| fs::read(path).unwrap());
        assert!(written == source && written.len() == 2_500_000);

        let [writing, reading] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        for yielded in [
            write(writing.path(), 2_500_000, 2, FEW).await.unwrap(),
            read(reading.path(), 2_500_000, 2, FEW).await.unwrap(),
        ] {
            assert_eq!((yielded.turns, yielded.bytes), (3, 7_500_000));
        }
        // The source, and a new file each time.
        assert_eq!(fs::read_dir(writing.path()).unwrap().count(), 4);
    }

    #[tokio::test]
    async fn what_dd_says_of_its_failure_is_handed_on() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::make(folder.path(), 1).unwrap();
        let error = place.reading(7).run().await.unwrap_err();
        assert!(error.to_string().contains("/7"), "{error}");
    }
}
