//! A process of its own that has a data folder open and can be killed at any moment: this test
//! binary, run again for one of the two tests below that are otherwise ignored.

use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write, stdin, stdout};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use pending_uploads_core::{
    FileId, Filename, Mimetype, Sha256, StagedFile, Storage, SweepPolicy, WorkspaceId,
};

use crate::support::{KIB, Platform, noise};

const FOLDER: &str = "DATA_FOLDER_TEST_FOLDER";
const WORKSPACE: &str = "DATA_FOLDER_TEST_WORKSPACE";
const ROUND: &str = "DATA_FOLDER_TEST_ROUND";

/// The process. It ends when it is killed or dropped.
pub(crate) struct Child {
    process: std::process::Child,
    said: BufReader<std::process::ChildStdout>,
}

/// What a publishing process says that it has done, or is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    Published { file_id: FileId, sha256: Sha256 },
    Acking { file_id: FileId },
    Acked { file_id: FileId },
}

impl Child {
    /// Starts one that opens the folder and keeps it.
    pub(crate) fn holding(folder: &Path) -> Self {
        let nothing: [(&str, &OsStr); 0] = [];
        Self::start("child::hold_the_folder", folder, nothing)
    }

    /// Starts one that publishes, acks and sweeps as fast as it can.
    pub(crate) fn publishing(folder: &Path, workspace: WorkspaceId, round: u64) -> Self {
        let told = [
            (WORKSPACE, workspace.to_string()),
            (ROUND, round.to_string()),
        ];
        Self::start("child::publish_without_end", folder, told)
    }

    fn start(
        test: &str,
        folder: &Path,
        told: impl IntoIterator<Item = (&'static str, impl AsRef<OsStr>)>,
    ) -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["--exact", test, "--ignored", "--nocapture"])
            .env(FOLDER, folder)
            .envs(told)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(process.stdout.take().unwrap());
        Self { process, said }
    }

    /// Returns when it has opened the folder.
    pub(crate) fn wait_until_open(&mut self) {
        let mut line = String::new();
        while line.trim_end() != "open" {
            line.clear();
            assert!(self.said.read_line(&mut line).unwrap() > 0, "it ended");
        }
    }

    /// Kills it (SIGKILL), and answers what it has said until then. What it was just saying when
    /// it was killed does not count.
    pub(crate) fn kill(mut self) -> Vec<Said> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        let mut text = String::new();
        self.said.read_to_string(&mut text).unwrap();
        let whole_lines = text.rfind('\n').map_or("", |end| &text[..end]);
        whole_lines.lines().filter_map(Said::parse).collect()
    }
}

impl Drop for Child {
    /// Fails when it was killed before.
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Said {
    /// Says it in one piece: a line of which only a part was written is not counted.
    fn say(self) {
        let line = match self {
            Self::Published { file_id, sha256 } => format!("published {file_id} {sha256}\n"),
            Self::Acking { file_id } => format!("acking {file_id}\n"),
            Self::Acked { file_id } => format!("acked {file_id}\n"),
        };
        stdout().lock().write_all(line.as_bytes()).unwrap();
    }

    /// What else the test harness prints is none.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let (verb, file_id) = (words.next()?, words.next()?.parse().ok()?);
        match verb {
            "published" => Some(Self::Published {
                file_id,
                sha256: words.next()?.parse().ok()?,
            }),
            "acking" => Some(Self::Acking { file_id }),
            "acked" => Some(Self::Acked { file_id }),
            _ => None,
        }
    }
}

/// What the process was told; none when somebody runs the ignored tests by hand.
fn told(what: &str) -> Option<String> {
    env::var(what).ok()
}

/// Ends this process when its parent is gone.
fn end_with_the_parent() {
    thread::spawn(|| {
        let mut nothing = Vec::new();
        drop(stdin().read_to_end(&mut nothing));
        std::process::exit(1);
    });
}

#[tokio::test]
#[ignore = "other tests run it as a process of its own"]
async fn hold_the_folder() {
    let Some(folder) = told(FOLDER).map(PathBuf::from) else {
        return;
    };
    end_with_the_parent();
    let _platform = Platform::open(&folder).await;
    stdout().lock().write_all(b"\nopen\n").unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "other tests run it as a process of its own"]
async fn publish_without_end() {
    let (Some(folder), Some(workspace), Some(round)) = (
        told(FOLDER).map(PathBuf::from),
        told(WORKSPACE),
        told(ROUND),
    ) else {
        return;
    };
    end_with_the_parent();
    stdout().lock().write_all(b"\n").unwrap();
    let platform = Arc::new(Platform::open(&folder).await);
    let workspace: WorkspaceId = workspace.parse().unwrap();
    for writer in 0..3 {
        let (platform, name) = (Arc::clone(&platform), format!("{round}.{writer}"));
        tokio::spawn(async move {
            for batch in 0.. {
                publish_batch(&platform, workspace, &name, batch).await;
            }
        });
    }
    let at_once = SweepPolicy {
        ack_retention: Duration::ZERO,
        ..SweepPolicy::default()
    };
    loop {
        platform.storage.sweep(&at_once).await.unwrap();
    }
}

/// Publishes one to four files of many sizes, whose names say how many belong together; acks
/// those of every second batch.
async fn publish_batch(platform: &Platform, workspace: WorkspaceId, writer: &str, number: u64) {
    let count = number % 4 + 1;
    let mut batch = platform.storage.begin(workspace).await.unwrap();
    let mut staged: Vec<StagedFile> = Vec::new();
    for file in 0..count {
        let name = Filename::sanitize(&format!("{writer}.{number}-{count}"));
        batch.start_file(name, Mimetype::absent()).await.unwrap();
        for piece in noise(size(number * 4 + file), number).chunks(64 * KIB) {
            batch.write(piece).await.unwrap();
        }
        staged.push(batch.finish_file().await.unwrap());
    }
    batch.publish().await.unwrap();
    for StagedFile {
        file_id, sha256, ..
    } in &staged
    {
        let (file_id, sha256) = (*file_id, *sha256);
        Said::Published { file_id, sha256 }.say();
    }
    if number % 2 == 1 {
        for StagedFile { file_id, .. } in staged {
            Said::Acking { file_id }.say();
            platform.storage.ack(workspace, file_id).await.unwrap();
            Said::Acked { file_id }.say();
        }
    }
}

/// A byte, some kilobytes in a row or a bundle, and some more in a file, in turn.
fn size(number: u64) -> usize {
    let sizes = [1, 120, 5, 128, 40, 126, 129, 300, 1100, 124].map(|kib| kib * KIB - KIB + 1);
    let step = number % sizes.len() as u64;
    sizes[usize::try_from(step).unwrap()]
}
