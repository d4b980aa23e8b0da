//! A process that is killed at any step leaves the file there once.

use std::os::unix::process::ExitStatusExt;
use std::process::abort;

use log::kv::Key;
use log::{LevelFilter, Log, Metadata, Record};

use super::*;

const STEPS: [&str; 5] = [
    "partial_made",
    "partial_grown",
    "synced",
    "placed",
    "folder_synced",
];

/// Ends the process when a step is logged.
struct Killer(String);

impl Log for Killer {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let step = record.key_values().get(Key::from("step"));
        if step.is_some_and(|step| step.to_string() == self.0) {
            abort();
        }
    }

    fn flush(&self) {}
}

/// The same file in every process.
fn same_file() -> WaitingFile {
    WaitingFile {
        file_id: "0190f5fe-7c00-7a00-8000-0123456789ab".parse().unwrap(),
        ..waiting(BYTES)
    }
}

fn fetch(folder: &Folder, file: &WaitingFile) -> PathBuf {
    let mut partial = folder.partial(file).unwrap();
    for byte in &BYTES[usize::try_from(partial.len()).unwrap()..] {
        partial.append(&[*byte]).unwrap();
    }
    partial.place().unwrap()
}

#[test]
fn a_process_that_is_killed_at_any_step_leaves_the_file_there_once() {
    if let Some((path, step)) = child::task() {
        let folder = Folder::open(&path).unwrap();
        log::set_boxed_logger(Box::new(Killer(step))).unwrap();
        log::set_max_level(LevelFilter::Trace);
        fetch(&folder, &same_file());
        return;
    }
    let test = concat!(
        module_path!(),
        "::a_process_that_is_killed_at_any_step_leaves_the_file_there_once"
    );
    for step in STEPS {
        let (_parent, folder) = folder();
        let output = child::run(test, "ulimit -c 0", folder.path(), step);
        assert!(output.status.signal().is_some(), "{step}: {output:?}");
        assert_eq!(names_in(folder.path()).len(), 1, "{step}");

        let file = same_file();
        let is_placed = ["placed", "folder_synced"].contains(&step);
        assert_eq!(folder.find(&file).unwrap().is_some(), is_placed, "{step}");
        let path = fetch(&folder, &file);
        assert_eq!(path, final_path(&folder, &file, 1), "{step}");
        assert_eq!(fs::read(path).unwrap(), BYTES, "{step}");
        assert_eq!(names_in(folder.path()).len(), 1, "{step}");
    }
}

#[test]
fn a_killed_process_holds_no_partial() {
    if let Some((path, step)) = child::task() {
        let folder = Folder::open(&path).unwrap();
        log::set_boxed_logger(Box::new(Killer(step))).unwrap();
        log::set_max_level(LevelFilter::Trace);
        let mut partial = folder.partial(&same_file()).unwrap();
        partial.append(&BYTES[..10]).unwrap();
        return;
    }
    let (_parent, folder) = folder();
    let test = concat!(module_path!(), "::a_killed_process_holds_no_partial");
    let output = child::run(test, "ulimit -c 0", folder.path(), "partial_grown");
    assert!(output.status.signal().is_some(), "{output:?}");
    assert_eq!(folder.partial(&same_file()).unwrap().len(), 10);
}
