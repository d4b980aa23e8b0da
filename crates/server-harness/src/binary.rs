//! Where the binaries under test are: built by cargo already, or built here.
//!
//! Cargo builds the whole workspace with other features than one package, so that another
//! `cargo build` would compile almost everything once more. What `cargo test --workspace` has built
//! is taken as it is while it is fresh.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use serde_json::Value;

/// The binary that `package` of this workspace has under its own name, of the profile that this
/// process was built with.
///
/// The tests and benchmarks of that package are told by cargo where it is, with every
/// `CARGO_BIN_EXE_…` of theirs. Everybody else gets the one that lies in the profile's folder when it
/// is newer than everything that it was made of, and has it built by cargo otherwise, once for each
/// process; what is in `Cargo.lock` and was fetched already needs no network.
///
/// # Panics
/// When cargo cannot build it; what cargo said is on stderr then.
pub fn binary_of(package: &str) -> PathBuf {
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    if let Some(path) = env::var_os(format!("CARGO_BIN_EXE_{package}")) {
        return path.into();
    }
    // Whoever comes meanwhile waits for the same build; one that failed is tried again.
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    built
        .entry(package.to_owned())
        .or_insert_with(|| fresh(&profile_folder(), package).unwrap_or_else(|| build(package)))
        .clone()
}

/// The binary in a profile's folder, if it is there and as new as all that it was made of: the files
/// that cargo names beside it, and what says which crates they are compiled with.
fn fresh(folder: &Path, package: &str) -> Option<PathBuf> {
    let binary = folder.join(package);
    let made = modified(&binary)?;
    let named = fs::read_to_string(folder.join(format!("{package}.d"))).ok()?;
    let (_, sources) = named.split_once(": ")?;
    let sources = sources.split_whitespace().map(PathBuf::from);
    let manifests = ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml"];
    let manifests = manifests.iter().map(|name| root().join(name));
    // A file that is gone, or whose name has a space, makes cargo look.
    let mut all = sources.chain(manifests);
    let is_fresh = all.all(|path| modified(&path).is_some_and(|changed| changed <= made));
    is_fresh.then_some(binary)
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn build(package: &str) -> PathBuf {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let output = Command::new(cargo)
        .args([
            "build",
            "--locked",
            "--message-format=json-render-diagnostics",
        ])
        .args(["--package", package, "--bin", package])
        .args(["--profile", &profile(&profile_folder())])
        .current_dir(root())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => panic!("cannot run cargo to build {package}: {error}"),
    };
    assert!(
        output.status.success(),
        "the binary {package} cannot be built: cargo ended with {}",
        output.status
    );
    let messages = String::from_utf8_lossy(&output.stdout);
    match executable(&messages, package) {
        Some(path) => path,
        None => panic!("cargo has built {package} and does not say where it is"),
    }
}

/// The path of the binary that cargo's messages, one a line, say was made.
fn executable(messages: &str, package: &str) -> Option<PathBuf> {
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut executables = messages
        .filter(|message| message["target"]["name"] == package)
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    executables.next_back()
}

/// The folder of the profile that this process was built with: cargo puts tests and benchmarks in
/// `deps` in it.
fn profile_folder() -> PathBuf {
    let own = env::current_exe().unwrap();
    let folder = own.parent().unwrap();
    match folder.file_name() {
        Some(name) if name == OsStr::new("deps") => folder.parent().unwrap().to_owned(),
        _ => folder.to_owned(),
    }
}

/// The name of the profile whose folder that is.
fn profile(folder: &Path) -> String {
    match folder.file_name().and_then(OsStr::to_str) {
        None | Some("debug") => "dev".to_owned(),
        Some(name) => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found_among_cargos_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"x"},"executable":"/t/x"}"#,
            "\nno JSON\n",
            r#"{"reason":"compiler-artifact","target":{"name":"y"},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"y"},"executable":"/t/y"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(executable(messages, "y"), Some("/t/y".into()));
        assert_eq!(executable(messages, "z"), None);
    }

    #[test]
    fn a_binary_is_fresh_until_something_that_it_was_made_of_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        assert_eq!(fresh(folder.path(), "x"), None);
        fs::write(path("a.rs"), "").unwrap();
        fs::write(path("x"), "").unwrap();
        assert_eq!(fresh(folder.path(), "x"), None);
        let (binary, source) = (path("x"), path("a.rs"));
        let named = format!("{}: {}\n", binary.display(), source.display());
        fs::write(path("x.d"), named).unwrap();
        assert_eq!(fresh(folder.path(), "x"), Some(binary.clone()));

        let later = SystemTime::now() + std::time::Duration::from_secs(1);
        let touch = |path: &Path| {
            let file = fs::File::options().append(true).open(path).unwrap();
            file.set_modified(later).unwrap();
        };
        touch(&source);
        assert_eq!(fresh(folder.path(), "x"), None);
        touch(&binary);
        assert_eq!(fresh(folder.path(), "x"), Some(binary));
        fs::remove_file(source).unwrap();
        assert_eq!(fresh(folder.path(), "x"), None);
    }

    #[test]
    fn a_profile_is_called_as_its_folder_is() {
        assert_eq!(profile(Path::new("/t/debug")), "dev");
        assert_eq!(profile(Path::new("/t/x86_64-linux/release")), "release");
        assert_eq!(profile(Path::new("/t/profiling")), "profiling");
    }
}
