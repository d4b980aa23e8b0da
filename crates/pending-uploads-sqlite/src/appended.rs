//! A file that is written from its beginning to its end: past the system's cache, where that can be
//! done.
//!
//! A large file costs less so. Its bytes are copied once less, the system needs no memory for them,
//! which others then keep, and when the last write has ended the disk has all but a tail of them. The
//! system may refuse any such write; what is left then goes through the cache.

use std::fs::File;
use std::io::{self, ErrorKind, Write};

/// Where in memory and in a file a write past the cache may begin, and what its length is a multiple
/// of, in bytes. What a disk asks for is a divisor of it, or the write is refused.
const PAGE_BYTES: usize = 4096;

/// Bytes that are collected to be written at once, at an address that a write past the cache may
/// begin at.
#[derive(Debug)]
pub(crate) struct Burst {
    /// It is never moved: what is added fits.
    held: Vec<u8>,
    /// How much of it lies before that address, and is none of the bytes.
    skipped: usize,
    room: usize,
}

impl Burst {
    /// An empty one. So many bytes fit, which are to be a multiple of 4 KiB.
    pub(crate) fn of(bytes: usize) -> Self {
        let mut held: Vec<u8> = Vec::with_capacity(bytes + PAGE_BYTES);
        let skipped = held.as_ptr().align_offset(PAGE_BYTES).min(PAGE_BYTES);
        held.resize(skipped, 0);
        Self {
            held,
            skipped,
            room: bytes,
        }
    }

    /// Takes of the data what fits, and answers the rest.
    pub(crate) fn take<'a>(&mut self, data: &'a [u8]) -> &'a [u8] {
        let fits = data.len().min(self.room);
        let (taken, rest) = data.split_at_checked(fits).unwrap_or((data, &[]));
        self.held.extend_from_slice(taken);
        self.room -= taken.len();
        rest
    }

    pub(crate) fn is_full(&self) -> bool {
        self.room == 0
    }

    /// An empty one in the memory of this one.
    pub(crate) fn emptied(mut self) -> Self {
        self.room = self.size();
        self.held.truncate(self.skipped);
        self
    }

    /// How many bytes fit into it when it is empty.
    pub(crate) fn size(&self) -> usize {
        self.bytes().len() + self.room
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.held.get(self.skipped..).unwrap_or_default()
    }
}

/// A new file, to which bursts are added.
#[derive(Debug)]
pub(crate) struct AppendedFile {
    file: File,
    way: Way,
    in_cache: usize,
}

/// How bytes get into the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Through the cache, unless the first burst is full. A file that is smaller is soon written, and is
    /// soon fetched out of the cache.
    Undecided,
    PastCache,
    ThroughCache,
}

impl AppendedFile {
    pub(crate) fn new(file: File) -> Self {
        Self {
            file,
            way: Way::Undecided,
            in_cache: 0,
        }
    }

    /// One as where there is no way past the cache.
    #[cfg(test)]
    pub(crate) fn through_cache(file: File) -> Self {
        Self {
            way: Way::ThroughCache,
            ..Self::new(file)
        }
    }

    /// The same file, to be synced meanwhile.
    pub(crate) fn try_clone(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// How many bytes were written through the cache, and are written to the disk with a sync at the
    /// latest.
    pub(crate) fn in_cache(&self) -> usize {
        self.in_cache
    }

    /// Adds a burst to the file's end.
    pub(crate) fn append(&mut self, burst: &Burst) -> io::Result<()> {
        if self.way == Way::Undecided && burst.is_full() {
            self.way = go_past_cache(&self.file);
        }
        let left = match self.way {
            Way::PastCache => write_pages(&mut self.file, burst.bytes())?,
            Way::Undecided | Way::ThroughCache => burst.bytes(),
        };
        if left.is_empty() {
            return Ok(());
        }
        self.go_through_cache()?;
        self.in_cache += left.len();
        self.file.write_all(left)
    }

    /// Returns when all is on the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn go_through_cache(&mut self) -> io::Result<()> {
        if self.way == Way::PastCache {
            leave_past_cache(&self.file)?;
            self.way = Way::ThroughCache;
        }
        Ok(())
    }
}

/// Writes whole pages, as long as they are taken, and answers what is left.
fn write_pages<'a>(file: &mut impl Write, mut left: &'a [u8]) -> io::Result<&'a [u8]> {
    while let Some((pages, _)) = left.split_at_checked(left.len() - left.len() % PAGE_BYTES)
        && !pages.is_empty()
    {
        match file.write(pages) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => left = left.get(written..).unwrap_or_default(),
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => {}
                // This file system, or this disk, wants to be written to otherwise.
                ErrorKind::InvalidInput | ErrorKind::Unsupported => break,
                _ => return Err(error),
            },
        }
    }
    Ok(left)
}

#[cfg(target_os = "linux")]
fn go_past_cache(file: &File) -> Way {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    let gone = fcntl_getfl(file).and_then(|flags| fcntl_setfl(file, flags | OFlags::DIRECT));
    // Not every file system has a way past the cache.
    gone.map_or(Way::ThroughCache, |()| Way::PastCache)
}

#[cfg(target_os = "linux")]
fn leave_past_cache(file: &File) -> io::Result<()> {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    let flags = fcntl_getfl(file)?;
    Ok(fcntl_setfl(file, flags - OFlags::DIRECT)?)
}

/// There is no way past the cache here that we know.
#[cfg(not(target_os = "linux"))]
fn go_past_cache(_: &File) -> Way {
    Way::ThroughCache
}

#[cfg(not(target_os = "linux"))]
fn leave_past_cache(_: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::slice;

    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    const BURST: usize = 2 * PAGE_BYTES;

    fn bytes(length: usize) -> Vec<u8> {
        (0..=250).cycle().take(length).collect()
    }

    /// A file in a folder of its own, where it is, and that folder.
    fn new_file() -> (AppendedFile, PathBuf, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let file = File::create_new(&path).unwrap();
        (AppendedFile::new(file), path, folder)
    }

    /// Collects the pieces, writes each burst that is full, and the last one at the end.
    fn append_all(file: &mut AppendedFile, pieces: &[Vec<u8>]) {
        let mut burst = Burst::of(BURST);
        for piece in pieces {
            let mut left = &piece[..];
            while !left.is_empty() {
                left = burst.take(left);
                if burst.is_full() {
                    file.append(&burst).unwrap();
                    burst = burst.emptied();
                }
            }
        }
        file.append(&burst).unwrap();
        file.sync().unwrap();
    }

    /// Whether files in this folder can be written to past the cache.
    #[cfg(target_os = "linux")]
    fn has_way_past_cache(folder: &TempDir) -> bool {
        use std::fs::OpenOptions;
        use std::os::unix::fs::OpenOptionsExt;
        let direct = i32::try_from(rustix::fs::OFlags::DIRECT.bits()).unwrap();
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).custom_flags(direct);
        options.open(folder.path().join("direct")).is_ok()
    }

    #[cfg(not(target_os = "linux"))]
    fn has_way_past_cache(_: &TempDir) -> bool {
        false
    }

    proptest! {
        #[test]
        fn what_arrives_in_pieces_is_in_the_file_in_their_order(
            lengths in prop::collection::vec(0..3 * BURST, 0..8)
        ) {
            let whole = bytes(lengths.iter().sum());
            let mut left = &whole[..];
            let pieces: Vec<Vec<u8>> = lengths
                .iter()
                .map(|length| left.split_off(..*length).unwrap().to_vec())
                .collect();
            let (mut file, path, _folder) = new_file();
            append_all(&mut file, &pieces);
            prop_assert!(fs::read(path).unwrap() == whole);
        }
    }

    #[test]
    fn of_a_large_file_only_the_tail_is_in_the_cache_where_there_is_a_way_past_it() {
        let (mut file, path, folder) = new_file();
        let data = bytes(3 * BURST + PAGE_BYTES + 5);
        append_all(&mut file, slice::from_ref(&data));
        let in_cache = if has_way_past_cache(&folder) {
            5
        } else {
            data.len()
        };
        assert_eq!(file.in_cache(), in_cache);
        assert_eq!(fs::read(path).unwrap(), data);
    }

    #[test]
    fn a_file_that_does_not_fill_its_first_burst_is_in_the_cache_and_one_that_does_is_not() {
        for (length, way) in [(BURST - 1, Way::Undecided), (BURST, Way::PastCache)] {
            let (mut file, path, folder) = new_file();
            let data = bytes(length);
            append_all(&mut file, slice::from_ref(&data));
            assert_eq!(fs::read(path).unwrap(), data);
            if has_way_past_cache(&folder) {
                assert_eq!(file.way, way);
            }
        }
    }

    /// Answers each write as it is told, and then takes a page each.
    struct Disk {
        answers: Vec<io::Result<usize>>,
        taken: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            let taken = self.answers.pop().unwrap_or(Ok(PAGE_BYTES))?;
            self.taken.extend_from_slice(&data[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is left of three pages and a byte when the disk answers so, the last one first, and what
    /// the disk has taken; both together are all bytes in their order.
    fn left_by(answers: Vec<io::Result<usize>>) -> io::Result<usize> {
        let (data, taken) = (bytes(3 * PAGE_BYTES + 1), Vec::new());
        let mut disk = Disk { answers, taken };
        let left = write_pages(&mut disk, &data)?;
        assert_eq!([&disk.taken, left].concat(), data);
        Ok(left.len())
    }

    #[test]
    fn pages_are_written_in_their_order_however_few_are_taken_at_once() {
        let interrupted = || Err(ErrorKind::Interrupted.into());
        assert_eq!(left_by(vec![]).unwrap(), 1);
        assert_eq!(left_by(vec![Ok(2 * PAGE_BYTES)]).unwrap(), 1);
        assert_eq!(left_by(vec![Ok(PAGE_BYTES), interrupted()]).unwrap(), 1);
        // From there on no whole pages are left but one.
        assert_eq!(
            left_by(vec![Ok(PAGE_BYTES), Ok(100)]).unwrap(),
            PAGE_BYTES - 99
        );
    }

    #[test]
    fn what_is_refused_is_left_and_what_fails_is_told() {
        for refusal in [ErrorKind::InvalidInput, ErrorKind::Unsupported] {
            let answers = vec![Err(refusal.into()), Ok(PAGE_BYTES)];
            assert_eq!(left_by(answers).unwrap(), 2 * PAGE_BYTES + 1);
        }
        let full = left_by(vec![Err(ErrorKind::StorageFull.into()), Ok(PAGE_BYTES)]);
        assert_eq!(full.unwrap_err().kind(), ErrorKind::StorageFull);
        let nothing = left_by(vec![Ok(0)]);
        assert_eq!(nothing.unwrap_err().kind(), ErrorKind::WriteZero);
    }

    #[test]
    fn a_write_past_the_cache_that_is_refused_goes_through_it() {
        let (mut file, path, folder) = new_file();
        let data = bytes(BURST);
        let mut burst = Burst::of(BURST);
        burst.take(&data);
        file.append(&burst).unwrap();
        // No disk takes what begins at such an address.
        let mut crooked = Burst::of(BURST);
        crooked.held.push(0);
        crooked.skipped += 1;
        crooked.take(&data);
        file.append(&crooked).unwrap();
        file.append(&burst).unwrap();
        assert_eq!(fs::read(path).unwrap(), data.repeat(3));
        if has_way_past_cache(&folder) {
            assert!(file.in_cache() <= 2 * BURST, "{}", file.in_cache());
        }
    }

    #[test]
    fn a_burst_takes_what_fits_at_an_address_of_a_page() {
        let mut burst = Burst::of(BURST);
        let data = bytes(BURST + 3);
        assert_eq!(burst.take(&data[..7]), b"");
        assert!(!burst.is_full());
        assert_eq!(burst.take(&data[7..]), &data[BURST..]);
        assert!(burst.is_full());
        assert_eq!(burst.bytes(), &data[..BURST]);
        assert_eq!(burst.bytes().as_ptr().align_offset(PAGE_BYTES), 0);
    }

    #[test]
    fn a_burst_that_is_emptied_keeps_its_memory() {
        let mut burst = Burst::of(BURST);
        burst.take(&bytes(BURST));
        let address = burst.bytes().as_ptr();
        let mut burst = burst.emptied();
        assert_eq!(burst.bytes(), b"");
        burst.take(&bytes(BURST));
        assert!(burst.is_full());
        assert_eq!(burst.bytes().as_ptr(), address);
    }
}
