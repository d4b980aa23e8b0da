//! Where a file's bytes are best kept: in rows of the database, whole or in chunks, or in a file
//! beside it. Each is written durably, one after another, and read back; the figures go into the
//! decision record on placement.
//!
//! `cargo bench -p pending-uploads-sqlite --bench placement`, on a quiet machine. It takes about a
//! minute and needs about 2 GB of disk in the temporary folder (`TMPDIR`).
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark fails by panicking, prints its table, and rounds"
)]

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use rusqlite::{Connection, params};

const CHUNK_BYTES: usize = 64 * 1024;
const ROUNDS: usize = 3;
/// Sizes in bytes, and how many files of each are written in a round.
const SIZES: [(usize, usize); 6] = [
    (1_000, 300),
    (16_000, 300),
    (100_000, 150),
    (400_000, 60),
    (25_000_000, 6),
    (100_000_000, 2),
];

fn main() {
    println!("| bytes | placement | write files/s | write MB/s | read MB/s |");
    println!("|---|---|---|---|---|");
    for (size, count) in SIZES {
        let data: Vec<u8> = (0..=250).cycle().take(size).collect();
        let mut figures = [const { Vec::new() }; 3];
        for _ in 0..ROUNDS {
            // Interleaved, so that a slow minute of the machine falls on all three.
            figures[0].push(Rows::open(usize::MAX).measure(&data, count));
            figures[1].push(Rows::open(CHUNK_BYTES).measure(&data, count));
            figures[2].push(Files::open().measure(&data, count));
        }
        let names = ["one row", "rows of 64 KiB", "a file"];
        for (name, figures) in names.into_iter().zip(&mut figures) {
            let (write, read) = (median(figures, |f| f.0), median(figures, |f| f.1));
            let megabytes = (size * count) as f64 / 1e6;
            println!(
                "| {size} | {name} | {:.0} | {:.0} | {:.0} |",
                count as f64 / write,
                megabytes / write,
                megabytes / read
            );
        }
    }
}

fn median(figures: &mut [(f64, f64)], of: impl Fn(&(f64, f64)) -> f64) -> f64 {
    figures.sort_by(|a, b| of(a).total_cmp(&of(b)));
    of(&figures[figures.len() / 2])
}

/// Bytes in rows of at most so many bytes.
struct Rows {
    db: Connection,
    row_bytes: usize,
    _folder: tempfile::TempDir,
}

impl Rows {
    fn open(row_bytes: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = database(folder.path());
        Self {
            db,
            row_bytes,
            _folder: folder,
        }
    }

    fn measure(self, data: &[u8], count: usize) -> (f64, f64) {
        let started = Instant::now();
        for file in 0..i64::try_from(count).unwrap() {
            let tx = self.db.unchecked_transaction().unwrap();
            let mut insert = tx
                .prepare_cached("INSERT INTO chunks VALUES (?1, ?2, ?3)")
                .unwrap();
            for (seq, chunk) in (0_i64..).zip(data.chunks(self.row_bytes)) {
                insert.execute(params![file, seq, chunk]).unwrap();
            }
            drop(insert);
            tx.execute("INSERT INTO uploads VALUES (?1)", [file])
                .unwrap();
            tx.commit().unwrap();
        }
        let write = started.elapsed().as_secs_f64();
        let started = Instant::now();
        for file in 0..i64::try_from(count).unwrap() {
            let mut select = self
                .db
                .prepare_cached("SELECT data FROM chunks WHERE file = ?1 ORDER BY seq")
                .unwrap();
            let mut rows = select.query([file]).unwrap();
            let mut read = 0;
            while let Some(row) = rows.next().unwrap() {
                read += row.get_ref(0).unwrap().as_blob().unwrap().to_vec().len();
            }
            assert_eq!(read, data.len());
        }
        (write, started.elapsed().as_secs_f64())
    }
}

/// Bytes in files beside the database, each synced with its folder before its row is committed.
struct Files {
    db: Connection,
    folder: tempfile::TempDir,
}

impl Files {
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = database(folder.path());
        fs::create_dir(folder.path().join("files")).unwrap();
        Self { db, folder }
    }

    fn path(&self, file: i64) -> PathBuf {
        self.folder.path().join("files").join(file.to_string())
    }

    fn measure(self, data: &[u8], count: usize) -> (f64, f64) {
        let started = Instant::now();
        for file in 0..i64::try_from(count).unwrap() {
            let mut out = OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(self.path(file))
                .unwrap();
            for burst in data.chunks(1024 * 1024) {
                out.write_all(burst).unwrap();
            }
            out.sync_data().unwrap();
            File::open(self.folder.path().join("files"))
                .unwrap()
                .sync_all()
                .unwrap();
            self.db
                .execute("INSERT INTO uploads VALUES (?1)", [file])
                .unwrap();
        }
        let write = started.elapsed().as_secs_f64();
        let started = Instant::now();
        let mut window = vec![0; 512 * 1024];
        for file in 0..i64::try_from(count).unwrap() {
            let mut input = File::open(self.path(file)).unwrap();
            let mut read = 0;
            loop {
                match input.read(&mut window).unwrap() {
                    0 => break,
                    n => read += window[..n].to_vec().len(),
                }
            }
            assert_eq!(read, data.len());
        }
        (write, started.elapsed().as_secs_f64())
    }
}

fn database(folder: &Path) -> Connection {
    let db = Connection::open(folder.join("bench.sqlite3")).unwrap();
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
         CREATE TABLE chunks (file INTEGER, seq INTEGER, data BLOB, PRIMARY KEY (file, seq)); \
         CREATE TABLE uploads (file INTEGER PRIMARY KEY);",
    )
    .unwrap();
    db
}
