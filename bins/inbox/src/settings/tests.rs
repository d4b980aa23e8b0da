//! Which value of a setting counts.

use std::fs;

use clap::Parser;
use tempfile::TempDir;

use super::*;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    common: CommonFlags,
    #[command(flatten)]
    take: TakeFlags,
    #[command(flatten)]
    exec: ExecFlags,
}

struct All {
    settings: Settings,
    take: TakeSettings,
    exec: Option<ExecSettings>,
}

/// The settings of these options and this file.
fn read(options: &[&str], file: &str) -> All {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("inbox.toml");
    fs::write(&path, file).unwrap();
    let config = format!("--config={}", path.display());
    let flags = Flags::try_parse_from(["inbox", config.as_str()].iter().chain(options)).unwrap();
    let settings = Settings::read(flags.common).unwrap();
    All {
        take: settings.take(&flags.take),
        exec: settings.exec(&flags.exec),
        settings,
    }
}

const FILE: &str = "
state_dir = \"/file/state\"
connect_timeout_secs = 1
answer_timeout_secs = 2
idle_timeout_secs = 3
log = \"debug\"
parallel_fetches = 5
max_file_bytes = 6
min_free_bytes = 7
poll_wait_secs = 8
reconcile_secs = 9
slow_bytes = 10
slow_secs = 11
longest_retry_secs = 12
exec = \"true\"
exec_timeout_secs = 13
exec_grace_secs = 14
";

const OPTIONS: [&str; 16] = [
    "--state-dir=/option/state",
    "--connect-timeout-secs=101",
    "--answer-timeout-secs=102",
    "--idle-timeout-secs=103",
    "--log=trace",
    "--parallel-fetches=15",
    "--max-file-bytes=106",
    "--min-free-bytes=107",
    "--poll-wait-secs=18",
    "--reconcile-secs=109",
    "--slow-bytes=110",
    "--slow-secs=111",
    "--longest-retry-secs=112",
    "--exec=false",
    "--exec-timeout-secs=113",
    "--exec-grace-secs=114",
];

/// All values in the order of the file.
fn values(all: &All) -> Vec<String> {
    let (take, exec) = (&all.take, all.exec.as_ref().unwrap());
    let (timeouts, limits) = (&take.timeouts, &take.limits);
    let secs = |time: Duration| time.as_secs().to_string();
    vec![
        all.settings.state_folder.display().to_string(),
        secs(timeouts.connect),
        secs(timeouts.answer),
        secs(timeouts.idle),
        all.settings.log().to_owned(),
        take.parallel_fetches.to_string(),
        limits.max_file_bytes.to_string(),
        limits.min_free_bytes.to_string(),
        secs(timeouts.wait),
        secs(take.reconcile_every),
        timeouts.slow.min_bytes.to_string(),
        secs(timeouts.slow.window),
        secs(take.retry.longest),
        exec.command.as_str().to_owned(),
        secs(exec.timeout),
        secs(exec.grace),
    ]
}

#[test]
fn the_file_wins_over_the_defaults() {
    let expected = [
        "/file/state",
        "1",
        "2",
        "3",
        "debug",
        "5",
        "6",
        "7",
        "8",
        "9",
        "10",
        "11",
        "12",
        "true",
        "13",
        "14",
    ];
    assert_eq!(values(&read(&[], FILE)), expected);
}

#[test]
fn an_option_wins_over_the_file() {
    let expected = OPTIONS.map(|option| option.split_once('=').unwrap().1);
    assert_eq!(values(&read(&OPTIONS, FILE)), expected);
    assert_eq!(values(&read(&OPTIONS, "")), expected);
}

#[test]
fn each_setting_has_a_default() {
    let all = read(&["--exec=true", "--state-dir=/state"], "");
    let expected = [
        "/state",
        "10",
        "30",
        "30",
        DEFAULT_FILTER,
        "4",
        "1073741824",
        "268435456",
        "50",
        "300",
        "65536",
        "60",
        "60",
        "true",
        "3600",
        "10",
    ];
    assert_eq!(values(&all), expected);
    assert_eq!(read(&["--state-dir=/state"], "").exec, None);
}

#[test]
fn the_first_wait_is_no_longer_than_the_longest() {
    let retry = read(&["--longest-retry-secs=1"], "").take.retry;
    assert!(retry.first <= retry.longest, "{retry:?}");
}

#[test]
fn a_folder_stays_the_same_wherever_the_process_goes() {
    let all = read(&["--state-dir=state"], "");
    assert!(all.settings.state_folder.is_absolute());
}
