//! What an inbox has told, run by run.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use server_harness::{Process, text};

/// The events of one inbox, those of each of its processes apart.
#[derive(Debug, Default, Clone)]
pub(crate) struct History {
    runs: Vec<Vec<Value>>,
}

impl History {
    /// With what a process has printed so far.
    pub(crate) fn and(&self, process: &Process) -> Self {
        let mut all = self.clone();
        all.note(process);
        all
    }

    /// Keeps what a process has printed.
    pub(crate) fn note(&mut self, process: &Process) {
        self.runs.push(events(&process.stdout()));
    }

    /// Keeps lines that a process printed elsewhere than into its file.
    pub(crate) fn note_lines(&mut self, lines: &str) {
        self.runs.push(events(lines));
    }

    /// All events, oldest first.
    pub(crate) fn events(&self) -> impl Iterator<Item = &Value> {
        self.runs.iter().flatten()
    }

    /// The events of each process.
    pub(crate) fn runs(&self) -> &[Vec<Value>] {
        &self.runs
    }

    /// How many processes have told of anything.
    pub(crate) fn talkative_runs(&self) -> usize {
        self.runs.iter().filter(|run| !run.is_empty()).count()
    }

    /// The files that have arrived, by their URIs. One that was told of twice was told of alike.
    pub(crate) fn arrived(&self) -> BTreeMap<String, Value> {
        self.about_files("file_arrived")
    }

    /// The same of the files that are lost.
    pub(crate) fn lost(&self) -> BTreeMap<String, Value> {
        self.about_files("file_lost")
    }

    fn about_files(&self, kind: &str) -> BTreeMap<String, Value> {
        let mut files = BTreeMap::new();
        for event in self.events().filter(|event| event["event"] == kind) {
            let before = files.insert(text(event, "uri"), event.clone());
            assert!(before.is_none_or(|before| before == *event), "{event}");
        }
        files
    }

    /// The ids of the messages' rows.
    pub(crate) fn messages(&self) -> BTreeSet<String> {
        let messages = self.events().filter(|event| event["event"] == "message");
        messages.map(|event| text(&event["row"], "id")).collect()
    }

    /// No process tells of anything twice, whatever happens to it.
    pub(crate) fn assert_no_process_repeats_itself(&self) {
        for run in &self.runs {
            assert_nothing_twice(run);
        }
    }

    /// What is confirmed is not told again by another process either.
    pub(crate) fn assert_nothing_is_repeated(&self) {
        if self.repeats().is_empty() {
            return;
        }
        let kinds = |run: &Vec<Value>| run.iter().map(identity).collect::<Vec<_>>();
        let runs: Vec<_> = self.runs.iter().map(kinds).collect();
        panic!(
            "told again: {:?}; all that was told: {runs:#?}",
            self.repeats()
        );
    }

    fn repeats(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let told = self.events().map(identity);
        told.filter(|identity| !seen.insert(identity.clone()))
            .collect()
    }
}

fn assert_nothing_twice<'a>(events: impl IntoIterator<Item = &'a Value>) {
    let mut seen = BTreeSet::new();
    for event in events {
        assert!(seen.insert(identity(event)), "twice: {event}");
    }
}

/// What an event is about. Nothing is both lost and there.
pub(crate) fn identity(event: &Value) -> String {
    match event["event"].as_str() {
        Some("message") => text(&event["row"], "id"),
        Some("file_arrived" | "file_lost") => text(event, "uri"),
        _ => panic!("no event: {event}"),
    }
}

/// The events in whole lines; what a killed process has begun is none.
pub(crate) fn events(stdout: &str) -> Vec<Value> {
    let whole = stdout.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(event).collect()
}

/// The event in a line.
pub(crate) fn event(line: &str) -> Value {
    let event = serde_json::from_str(line).unwrap_or_default();
    assert_ne!(event, Value::Null, "no JSON: {line}");
    event
}
