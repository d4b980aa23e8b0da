//! What holds for every file of the repository.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold nothing of ours.
const SKIPPED: [&str; 2] = ["target", ".git"];
const MAX_LINES: usize = 500;

fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.join("../..").canonicalize().unwrap()
}

/// Every file below `folder` whose name ends in one of `endings`.
fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if !SKIPPED.contains(&name) {
                found.extend(files(&path, endings));
            }
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<PathBuf> {
    let sources = files(&root(), &[".rs"]);
    assert!(sources.len() > 10, "the sources were not found");
    sources
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// Fails with all offenders at once.
fn assert_none(what: &str, offenders: &[String]) {
    assert!(offenders.is_empty(), "{what}:\n{}", offenders.join("\n"));
}

#[test]
fn every_source_file_says_what_it_is_about() {
    let silent: Vec<_> = sources()
        .into_iter()
        .filter(|path| !read(path).starts_with("//! "))
        .map(|path| path.display().to_string())
        .collect();
    assert_none("these files do not begin with //!", &silent);
}

#[test]
fn no_source_file_is_too_long_to_have_one_subject() {
    let long: Vec<_> = sources()
        .into_iter()
        .map(|path| (read(&path).lines().count(), path))
        .filter(|(lines, _)| *lines > MAX_LINES)
        .map(|(lines, path)| format!("{}: {lines} lines", path.display()))
        .collect();
    assert_none("these files are too long", &long);
}

#[test]
fn nothing_is_left_for_later() {
    // Spelled so that this file does not find itself.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME")];
    let endings = [".rs", ".sql", ".toml", ".md", "justfile", ".ci/run", ".yml"];
    let mut left = Vec::new();
    for path in files(&root(), &endings) {
        for (number, line) in read(&path).lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                left.push(format!("{}:{}: {line}", path.display(), number + 1));
            }
        }
    }
    assert_none("these lines put something off", &left);
}

#[test]
fn every_link_in_the_documents_leads_somewhere() {
    let mut dead = Vec::new();
    for document in files(&root(), &[".md"]) {
        for link in links(&read(&document)) {
            if !resolves(&document, &link) {
                dead.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert_none("these links are dead", &dead);
}

/// The targets of a document's inline links, `[text](target)`; code is skipped.
fn links(markdown: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(markdown) {
        let mut rest = line;
        while let Some((_, after)) = rest.split_once("](") {
            let (target, next) = after.split_once(')').unwrap_or((after, ""));
            found.push(target.to_owned());
            rest = next;
        }
    }
    found
}

/// The lines outside fenced code.
fn prose(markdown: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    markdown.lines().filter(move |line| {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
            return false;
        }
        !in_code
    })
}

fn resolves(document: &Path, link: &str) -> bool {
    if link.contains("://") || link.starts_with("mailto:") {
        return true;
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = if path.is_empty() {
        document.to_owned()
    } else {
        document.parent().unwrap().join(path)
    };
    target.exists() && (anchor.is_empty() || anchors(&read(&target)).contains(anchor))
}

/// The anchors that a document's headings get: lower case, spaces as dashes, no punctuation.
fn anchors(markdown: &str) -> BTreeSet<String> {
    prose(markdown)
        .filter(|line| line.starts_with('#'))
        .map(|line| slug(line.trim_start_matches('#').trim()))
        .collect()
}

fn slug(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .map(|c| if c == ' ' { '-' } else { c })
        .filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_')
        .collect()
}

#[test]
fn every_migration_has_a_way_back() {
    let folder = root().join("migrations/postgres");
    let ways: BTreeSet<_> = names(&folder)
        .iter()
        .filter_map(|name| name.strip_prefix('V').map(str::to_owned))
        .collect();
    let ways_back: BTreeSet<_> = names(&folder.join("down")).into_iter().collect();
    assert!(!ways.is_empty(), "no migrations were found");
    assert_eq!(ways, ways_back);
}

/// The names of the files right in `folder`.
fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "down")
        .collect()
}

#[test]
fn the_checks_find_what_they_look_for() {
    let text = "# A b, c!\n[x](y.md) and [z](#a-b-c)\n```\n[no](no.md)\n```\n";
    assert_eq!(links(text), ["y.md", "#a-b-c"]);
    assert!(anchors(text).contains("a-b-c"));
    let document = root().join("Cargo.toml");
    assert!(resolves(&document, "Cargo.lock"));
    assert!(!resolves(&document, "no-such-file.md"));
}
