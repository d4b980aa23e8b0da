//! This process and this machine.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use jiff::Timestamp;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::cell::Scale;
use crate::cli::Plan;
use crate::error::BenchError;
use crate::site::{SETTINGS, WORKSPACES, Way};

/// The most threads that make load: more would only take cores from the server.
const THREADS: usize = 2;

/// The runtime of the load.
pub(crate) fn runtime() -> Result<Runtime, BenchError> {
    let cores = available_parallelism().map_or(1, usize::from);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.min(THREADS))
        .enable_all()
        .build()
        .map_err(BenchError::Setup)
}

/// Lets this process, and the servers that it starts, have as many open files as the system allows.
pub(crate) fn allow_many_connections() -> Result<(), BenchError> {
    let now = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: now.maximum,
        maximum: now.maximum,
    };
    setrlimit(Resource::Nofile, wanted).map_err(|error| BenchError::Setup(error.into()))
}

/// Runs it, and drops it when this process is told to stop: whatever it had started ends then.
pub(crate) async fn unless_interrupted<T>(
    measured: impl Future<Output = Result<T, BenchError>>,
) -> Result<T, BenchError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(BenchError::Setup)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(BenchError::Setup)?;
    tokio::select! {
        biased;
        _ = interrupt.recv() => Err(BenchError::Interrupted),
        _ = terminate.recv() => Err(BenchError::Interrupted),
        measured = measured => measured,
    }
}

/// Where the figures go when nobody says so.
pub(crate) fn json_path(plan: &Plan) -> Option<PathBuf> {
    let own = env::current_exe().ok()?;
    // target/release/bench
    let target = own.parent()?.parent()?;
    let time = Timestamp::now().strftime("%Y-%m-%dT%H-%M-%SZ");
    let path = target.join("bench").join(format!("{time}.json"));
    (plan.effort.scale == Scale::Full).then_some(path)
}

/// What is measured on, and how.
pub(crate) fn about(plan: &Plan) -> Vec<String> {
    let cores = available_parallelism().map_or(1, usize::from);
    let settings = SETTINGS.map(|(name, value)| format!("{name}={value}"));
    let more = plan.settings.iter();
    let more = more.map(|(name, value)| format!("{name}={value}"));
    let settings: Vec<_> = settings.into_iter().chain(more).collect();
    vec![
        format!("{}; {cores} cores, {}", Timestamp::now(), cpu_model()),
        format!("data in {}", disk(&env::temp_dir())),
        format!("each server has {}", settings.join(" ")),
        format!(
            "PostgreSQL has its own settings, and pg_stat_statements, and is reached over {}",
            match plan.way {
                Way::Socket => "its socket in the file system",
                Way::Tcp => "TCP",
            }
        ),
        format!(
            "{} runs, {:?} a cell; files are spread over {WORKSPACES} workspaces",
            plan.runs, plan.effort.window
        ),
    ]
}

fn cpu_model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    let model = line.and_then(|line| line.split_once(": "));
    model.map_or("of some kind".to_owned(), |(_, model)| model.to_owned())
}

/// A folder, and the kind of file system that it lies in.
fn disk(folder: &Path) -> String {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    match file_system(&text, folder) {
        Some(kind @ ("tmpfs" | "ramfs")) => format!(
            "{} ({kind}: in memory, so that what is said of the disk means nothing)",
            folder.display()
        ),
        Some(kind) => format!("{} ({kind})", folder.display()),
        None => folder.display().to_string(),
    }
}

/// The kind of file system that a folder lies in, by the list of mounts (proc(5), mountinfo).
fn file_system<'a>(mounts: &'a str, folder: &Path) -> Option<&'a str> {
    let mounts = mounts.lines().filter_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let point = Path::new(mount.split(' ').nth(4)?);
        let depth = point.components().count();
        folder
            .starts_with(point)
            .then(|| (depth, kind.split(' ').next()))
    });
    // The last of the deepest: what is mounted later hides what was there.
    mounts.max_by_key(|(depth, _)| *depth)?.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_lies_in_the_deepest_mount_above_it() {
        let mounts = "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:2 / /tmp rw - tmpfs tmpfs rw\n\
                      3 1 0:3 / /tmpx rw shared:1 - xfs /dev/b rw\n";
        assert_eq!(file_system(mounts, Path::new("/tmp/a")), Some("tmpfs"));
        assert_eq!(file_system(mounts, Path::new("/tmpx")), Some("xfs"));
        assert_eq!(file_system(mounts, Path::new("/srv")), Some("ext4"));
        assert_eq!(file_system("", Path::new("/srv")), None);
    }
}
