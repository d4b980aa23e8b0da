//! The documents say what the code does: every error, metric, setting, route and clause that they
//! should name is named, and every test that they name exists.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The code of a file without its unit tests.
fn code(path: &str) -> String {
    let text = read(path);
    text.split("#[cfg(test)]").next().unwrap().to_owned()
}

/// All Rust files below `folder`, put together.
fn sources(folder: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all += &sources(&path);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            all += &fs::read_to_string(path).unwrap();
        }
    }
    all
}

fn is_word(text: &str) -> bool {
    let letters = text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    letters && !text.is_empty()
}

/// What stands between two marks of the same kind, where that is one word of a-z and _.
fn words_between(text: &str, mark: char) -> BTreeSet<String> {
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines
        .flat_map(|line| line.split(mark).skip(1).step_by(2))
        .filter(|word| is_word(word))
        .map(str::to_owned)
        .collect()
}

fn assert_named(what: &str, words: &BTreeSet<String>, document: &str) {
    assert!(words.len() > 3, "{what}: none were found in the code");
    let text = read(document);
    let missing: Vec<_> = words
        .iter()
        .filter(|word| !text.contains(&format!("`{word}")))
        .collect();
    assert!(
        missing.is_empty(),
        "{what} that {document} does not name: {missing:?}"
    );
}

#[test]
fn the_reference_names_every_error_and_its_fields() {
    let table = code("crates/upload-http/src/error/table.rs");
    let mut words = words_between(&table, '"');
    // The two fields that every error has, which stand in an example.
    words.remove("error");
    words.remove("code");
    assert!(words.contains("digest_mismatch"), "{words:?}");
    assert_named("errors", &words, "docs/http-api.md");
}

#[test]
fn the_reference_names_every_route() {
    let routes = code("crates/upload-http/src/routes.rs");
    let reference = read("docs/http-api.md").replace("{id}", "{workspace_id}");
    let literals = routes.split('"').skip(1).step_by(2);
    let paths: BTreeSet<_> = literals.filter(|text| text.starts_with('/')).collect();
    assert!(paths.contains("/healthz"), "{paths:?}");
    for path in paths {
        assert!(reference.contains(path), "{path} is not in the reference");
    }
}

#[test]
fn the_operators_document_names_every_operation() {
    let routes = code("crates/upload-http/src/routes.rs");
    let operations = words_between(&routes, '"');
    assert!(operations.contains("fetch"), "{operations:?}");
    assert_named("operations", &operations, "docs/operations.md");
}

#[test]
fn the_operators_document_names_every_metric() {
    let code = code("crates/upload-http/src/events.rs")
        + &code("crates/pending-uploads-core/src/sweeper.rs");
    let metrics: BTreeSet<_> = words_between(&code, '"')
        .into_iter()
        .filter(|word| word.starts_with("pending_uploads_"))
        .collect();
    assert!(
        metrics.contains("pending_uploads_staged_total"),
        "{metrics:?}"
    );
    assert_named("metrics", &metrics, "docs/operations.md");
}

#[test]
fn the_operators_document_names_every_setting() {
    let code = code("bins/platform-server/src/settings.rs");
    let flags = code.split("#[derive(Debug, Args)]").skip(1);
    let settings: BTreeSet<_> = flags
        .flat_map(|flags| flags.split("\n}").next().unwrap().lines())
        .filter_map(|line| line.trim().split_once(": "))
        .map(|(name, _)| name)
        .filter(|name| is_word(name) && *name != "log")
        .map(str::to_uppercase)
        .collect();
    assert!(
        settings.contains("BIND") && settings.contains("DATA_DIR"),
        "{settings:?}"
    );
    let document = read("docs/operations.md");
    for setting in settings.iter().map(String::as_str).chain(["RUST_LOG"]) {
        assert!(
            document.contains(&format!("| `{setting}`")),
            "{setting} has no row"
        );
    }
}

#[test]
fn the_inboxs_document_names_every_setting() {
    let code = code("bins/inbox/src/flags.rs");
    let variables = code.split("env = \"").skip(1);
    let settings: BTreeSet<_> = variables
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert!(
        settings.contains("INBOX_DIR") && settings.contains("RUST_LOG") && settings.len() > 20,
        "{settings:?}"
    );
    let document = read("docs/inbox.md");
    for setting in settings {
        assert!(
            document.contains(&format!("| `{setting}`")),
            "{setting} has no row"
        );
    }
}

#[test]
fn the_inboxs_document_names_every_field_that_it_prints() {
    let mut fields = BTreeSet::new();
    for file in ["output", "send", "status"] {
        let code = code(&format!("bins/inbox/src/{file}.rs"));
        for printed in code.split("Serialize)]").skip(1) {
            let body = printed.split("\n}").next().unwrap();
            let names = body.lines().filter_map(|line| line.trim().split_once(": "));
            let names = names.map(|(name, _)| name).filter(|name| is_word(name));
            fields.extend(names.map(str::to_owned));
        }
    }
    assert!(
        fields.contains("original_name") && fields.contains("unacked"),
        "{fields:?}"
    );
    // A word with a digit.
    fields.insert("sha256".to_owned());
    assert_named("fields", &fields, "docs/inbox.md");
}

#[test]
fn the_inboxs_document_names_every_reason_and_condition() {
    for file in ["event", "condition"] {
        let words = words_between(&code(&format!("crates/inbox-client/src/{file}.rs")), '"');
        let mut missing = words.clone();
        let text = read("docs/inbox.md");
        missing.retain(|word| !text.contains(word));
        assert!(words.len() > 3, "{file}: {words:?}");
        assert!(missing.is_empty(), "{file}: {missing:?}");
    }
}

#[test]
fn every_test_that_the_documents_name_is_there() {
    let sources = sources(&root().join("crates")) + &sources(&root().join("bins"));
    let mut documents = vec!["docs/architecture.md".to_owned()];
    for entry in fs::read_dir(root().join("docs/decisions")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        documents.push(format!("docs/decisions/{name}"));
    }
    let mut named = 0;
    for document in documents {
        for word in read(&document).split('`').skip(1).step_by(2) {
            let name = word.rsplit("::").next().unwrap();
            let is_a_sentence = is_word(&name.replace(|c: char| c.is_ascii_digit(), "x"))
                && name.matches('_').count() > 3;
            if is_a_sentence {
                named += 1;
                let there = sources.contains(&format!("fn {name}("));
                assert!(there, "{document} names {name}, which is no test");
            }
        }
    }
    assert!(named > 40, "only {named} tests are named");
}
