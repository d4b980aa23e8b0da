//! The in-memory platform keeps the contract, and the list of clauses leaves none out.
#![cfg(feature = "contract")]
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail the test when they fail"
)]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use pending_uploads_core::contract::{CLAUSES, Fixture, Instance, Subject, Terms};
use pending_uploads_core::memory::MemoryPlatform;

struct Memory;

#[async_trait]
impl Fixture for Memory {
    async fn subject(&self, terms: Terms) -> Subject {
        let clock = Arc::clone(&terms.clock);
        let platform = MemoryPlatform::new(clock, terms.ttl, terms.quota);
        let instance = Instance {
            storage: Arc::new(platform.clone()),
            activity: Arc::new(platform.clone()),
            workspaces: Arc::new(platform),
        };
        Subject::new(terms, instance.clone(), instance)
    }
}

pending_uploads_core::contract_tests!(Memory);

/// A clause as it stands in the suite's source: its name and the line above it that says what it
/// holds a backend to.
struct Written {
    name: String,
    claim: String,
}

/// Every public function of the suite's modules of clauses.
fn written_clauses() -> Vec<Written> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/contract");
    let mut clauses = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap();
        if module != "mod" {
            clauses.extend(clauses_of(module, &fs::read_to_string(&path).unwrap()));
        }
    }
    clauses
}

fn clauses_of(module: &str, source: &str) -> Vec<Written> {
    let mut claim = String::new();
    let mut clauses = Vec::new();
    for line in source.lines() {
        if let Some(text) = line.strip_prefix("///") {
            claim.push_str(text);
        } else if let Some(signature) = line.strip_prefix("pub async fn ") {
            let name = signature.split('(').next().unwrap();
            clauses.push(Written {
                name: format!("{module}::{name}"),
                claim: std::mem::take(&mut claim),
            });
        } else {
            claim.clear();
        }
    }
    clauses
}

#[test]
fn the_list_of_clauses_leaves_none_out_and_names_none_twice() {
    let mut written: Vec<_> = written_clauses().into_iter().map(|c| c.name).collect();
    let mut listed = CLAUSES.to_vec();
    written.sort_unstable();
    listed.sort_unstable();
    assert_eq!(written, listed);
}

#[test]
fn every_clause_says_what_it_holds_a_backend_to() {
    for Written { name, claim } in written_clauses() {
        let claim = claim.trim();
        let names_its_source = claim.starts_with("Invariant") || claim.starts_with('`');
        assert!(names_its_source && claim.contains(": "), "{name}: {claim}");
    }
}

#[test]
fn every_invariant_of_a_store_has_a_clause() {
    let claims: String = written_clauses().into_iter().map(|c| c.claim).collect();
    for invariant in [1, 2, 3, 4, 7, 8, 10] {
        assert!(
            claims.contains(&format!("Invariant {invariant}:")),
            "nothing holds a backend to invariant {invariant}"
        );
    }
}
