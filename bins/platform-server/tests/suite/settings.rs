//! Wrong settings: one sentence, exit code 2, and no secret in it.

use std::io;
use std::process::Command;

use server_harness::{ServerBuilder, binary_of};

const URL: &str = "postgres://user:hunter2@127.0.0.1:1/database";

#[test]
fn a_wrong_setting_is_one_sentence_and_exit_code_2() {
    for (name, value) in [
        ("BIND", "localhost"),
        ("BIND", "127.0.0.1:99999"),
        ("DATABASE_URL", ""),
        ("DATABASE_URL", "mysql://user:hunter2@h/d"),
        ("DATABASE_URL", "postgres://user:hunter2@h:port/d"),
        ("DATABASE_URL", "postgres://user:hunter2@h/d?sslmode=maybe"),
        ("DATABASE_POOL_SIZE", "0"),
        ("ADMIN_TOKEN", ""),
        ("ADMIN_TOKEN", "hunter2"),
        ("ADMIN_TOKEN", "hunter2 with spaces"),
        ("REGISTRATION", "everybody"),
        ("MAX_FILE_BYTES", "0"),
        ("MAX_FILE_BYTES", "100MB"),
        ("MAX_FILE_BYTES", "-1"),
        ("MAX_REQUEST_BYTES", "1000"),
        ("MAX_FILES", "0"),
        ("MAX_FILES", "1001"),
        ("MAX_WAITING_BYTES", "0"),
        ("MAX_WAITING_FILES", "many"),
        ("UPLOAD_TTL_SECS", "0"),
        ("ACK_RETENTION_SECS", "-1"),
        ("FEED_RETENTION_SECS", "0"),
        ("SWEEP_INTERVAL_SECS", "0"),
        ("STAGING_LEASE_SECS", "30"),
        ("IDLE_TIMEOUT_SECS", "0"),
        ("IDLE_TIMEOUT_SECS", "1.5"),
        ("ALLOW_PRIVATE_CALLBACKS", "perhaps"),
        ("DATABASE_WAIT_SECS", "x"),
        ("SHUTDOWN_TIMEOUT_SECS", "x"),
        ("RUST_LOG", "upload_http=loud"),
    ] {
        refused(
            &format!("{name}={value}"),
            ServerBuilder::on(URL).set(name, value),
        );
    }
}

#[test]
fn a_wrong_argument_is_one_sentence_and_exit_code_2() {
    for argument in [
        "serve",
        "--databse-url=postgres://user:hunter2@h/d",
        "postgres://user:hunter2@h/d",
        "--max-files=0",
    ] {
        refused(argument, ServerBuilder::on(URL).arg(argument));
    }
    refused(
        "migrate",
        ServerBuilder::on(URL).arg("migrate").arg("--down-to=-1"),
    );
}

/// Checks how it ended.
fn refused(what: &str, builder: ServerBuilder) {
    let (status, process) = builder.run();
    let sentence = process.log();
    assert_eq!(status.code(), Some(2), "{what}: {sentence}");
    assert_eq!(sentence.trim_end().lines().count(), 1, "{what}: {sentence}");
    assert!(
        sentence.starts_with("platform-server: "),
        "{what}: {sentence}"
    );
    assert!(!sentence.contains("hunter2"), "{what}: {sentence}");
    assert_eq!(process.stdout(), "", "{what}");
}

#[test]
fn help_and_version_are_told_without_a_database() {
    for argument in ["--help", "-h", "--version"] {
        let (status, process) = ServerBuilder::bare().arg(argument).run();
        assert_eq!(status.code(), Some(0), "{argument}");
        assert!(process.stdout().contains("platform-server"), "{argument}");
    }
    let (_, process) = ServerBuilder::bare()
        .set("ADMIN_TOKEN", "hunter2")
        .arg("--help")
        .run();
    assert!(process.stdout().contains("Exit codes"));
    assert!(!process.stdout().contains("hunter2"));
}

#[test]
fn what_nobody_can_be_told_does_not_change_the_exit_code() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let elsewhere = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary_of("platform-server"));
    command
        .current_dir(elsewhere.path())
        .arg("--no-such-option");
    let status = command.stderr(writer).status();
    assert_eq!(status.unwrap().code(), Some(2));
}
