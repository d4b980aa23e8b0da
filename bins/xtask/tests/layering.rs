//! Who may depend on whom: the invariants of absence of `docs/architecture.md`, over
//! `cargo metadata`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use cargo_metadata::{
    CargoOpt, DepKindInfo, DependencyKind, Metadata, MetadataCommand, Package, PackageId,
};

static METADATA: LazyLock<Metadata> = LazyLock::new(|| {
    MetadataCommand::new()
        .features(CargoOpt::AllFeatures)
        .exec()
        .unwrap()
});

/// The floors of the house, lowest first. A crate depends on lower floors only, in tests, too.
const FLOORS: [&[&str]; 4] = [
    &["pending-uploads-core", "pg-cluster", "command-line"],
    &["server-harness"],
    &[
        "pending-uploads-pg",
        "pending-uploads-sqlite",
        "upload-http",
        "inbox-client",
    ],
    &["platform-server", "inbox", "bench", "xtask"],
];

/// Crates for tests and benchmarks alone. They may name what they like; nothing that is delivered
/// may need one.
const FOR_TESTS: [&str; 3] = ["pg-cluster", "server-harness", "bench"];
/// Who needs them to be built nevertheless: what runs the tests and the benchmarks, and one another.
const NEEDS_TEST_CRATES: [&str; 3] = ["xtask", "server-harness", "bench"];

/// Crates that speak HTTP.
const HTTP: [&str; 6] = ["actix-http", "actix-web", "http", "hyper", "h2", "reqwest"];
/// Crates that speak SQL.
const SQL: [&str; 8] = [
    "tokio-postgres",
    "postgres-types",
    "deadpool-postgres",
    "refinery",
    "refinery-core",
    "rusqlite",
    "libsqlite3-sys",
    "sqlx",
];

fn floor(name: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&name))
}

fn members() -> Vec<&'static Package> {
    METADATA.workspace_packages()
}

fn member(name: &str) -> &'static Package {
    let found = members().into_iter().find(|package| package.name == name);
    found.unwrap()
}

/// The crates that `name` cannot be built without, at any depth.
fn everything_below(name: &str) -> BTreeSet<&'static str> {
    let resolve = METADATA.resolve.as_ref().unwrap();
    let nodes: BTreeMap<_, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let mut seen: BTreeSet<&PackageId> = BTreeSet::new();
    let mut open = vec![&member(name).id];
    while let Some(id) = open.pop() {
        let needed = nodes[id]
            .deps
            .iter()
            .filter(|dep| dep.dep_kinds.iter().any(is_needed_to_build));
        for dep in needed {
            if seen.insert(&dep.pkg) {
                open.push(&dep.pkg);
            }
        }
    }
    seen.into_iter()
        .map(|id| METADATA[id].name.as_str())
        .collect()
}

fn is_needed_to_build(kind: &DepKindInfo) -> bool {
    kind.kind != DependencyKind::Development
}

/// The members, those for tests aside, that name `dependency` as one that they cannot be built
/// without.
fn who_names(dependency: &str) -> BTreeSet<&'static str> {
    let mut found = everyone_who_names(dependency);
    found.retain(|name| !FOR_TESTS.contains(name));
    found
}

fn everyone_who_names(dependency: &str) -> BTreeSet<&'static str> {
    let names = |package: &&Package| {
        package
            .dependencies
            .iter()
            .any(|named| named.name == dependency && named.kind != DependencyKind::Development)
    };
    members()
        .into_iter()
        .filter(names)
        .map(|package| package.name.as_str())
        .collect()
}

#[test]
fn every_crate_has_its_floor() {
    for package in members() {
        assert!(
            floor(&package.name).is_some(),
            "{} is in no floor of FLOORS",
            package.name
        );
    }
}

#[test]
fn dependencies_point_down_only() {
    let ours: BTreeSet<_> = members()
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    for package in members() {
        let of_ours = package
            .dependencies
            .iter()
            .filter(|dependency| ours.contains(dependency.name.as_str()));
        for dependency in of_ours {
            assert!(
                floor(&dependency.name) < floor(&package.name),
                "{} may not depend on {}",
                package.name,
                dependency.name
            );
        }
    }
}

#[test]
fn what_is_for_tests_is_needed_by_nothing_that_is_delivered() {
    let allowed = BTreeSet::from(NEEDS_TEST_CRATES);
    for crate_ in FOR_TESTS {
        let needed_by = everyone_who_names(crate_);
        assert!(needed_by.is_subset(&allowed), "{crate_}: {needed_by:?}");
    }
    assert!(everyone_who_names("pg-cluster").contains("server-harness"));
}

#[test]
fn the_core_knows_no_http_and_no_sql() {
    let below = everything_below("pending-uploads-core");
    for forbidden in HTTP.iter().chain(&SQL) {
        assert!(
            !below.contains(forbidden),
            "the core depends on {forbidden}"
        );
    }
}

#[test]
fn upload_http_knows_the_traits_and_no_backend() {
    let below = everything_below("upload-http");
    assert!(below.contains("pending-uploads-core"));
    let backends = ["pending-uploads-pg", "pending-uploads-sqlite"];
    for forbidden in SQL.iter().chain(&backends) {
        assert!(
            !below.contains(forbidden),
            "upload-http depends on {forbidden}"
        );
    }
}

#[test]
fn each_driver_is_named_by_its_backend_alone() {
    let postgres = BTreeSet::from(["pending-uploads-pg"]);
    for driver in ["tokio-postgres", "deadpool-postgres"] {
        assert_eq!(who_names(driver), postgres, "{driver}");
    }
    let sqlite = BTreeSet::from(["pending-uploads-sqlite"]);
    assert!(who_names("rusqlite").is_subset(&sqlite));
    // Migrations are a backend's own, whichever it is.
    let backends = &postgres | &sqlite;
    assert!(who_names("refinery").is_subset(&backends));
}

#[test]
fn domain_records_are_not_serializable() {
    // Without serde's name the core cannot derive or implement its traits.
    assert!(!who_names("serde").contains("pending-uploads-core"));
    assert!(!who_names("serde_derive").contains("pending-uploads-core"));
}

#[test]
fn only_the_server_knows_both_the_web_side_and_a_backend() {
    let both: BTreeSet<_> = who_names("upload-http")
        .intersection(&who_names("pending-uploads-pg"))
        .copied()
        .collect();
    assert_eq!(both, BTreeSet::from(["platform-server"]));
}

#[test]
fn nothing_here_is_published_by_accident() {
    for package in members() {
        assert_eq!(package.publish, Some(Vec::new()), "{}", package.name);
    }
}
