//! Programs in processes of their own.

use rustix::process::Signal;
use server_harness::Program;

fn shell(script: &str) -> Program {
    Program::new("/bin/sh").arg("-c").arg(script)
}

#[test]
fn a_program_gets_what_it_was_given_and_nothing_else() {
    let program = shell("/bin/cat; echo $NAME $HOME; echo said >&2; exit 3")
        .set("NAME", "value")
        .stdin("typed\n");
    let (status, process) = program.run();
    assert_eq!(status.code(), Some(3));
    assert_eq!(process.stdout(), "typed\nvalue\n");
    assert_eq!(process.log(), "said\n");
}

#[test]
fn a_process_is_watched_told_and_killed() {
    let loop_ = "trap 'echo told' TERM; echo first; while :; do /bin/sleep 0.01; done";
    let mut process = shell(loop_).spawn();
    assert_eq!(process.first_line().unwrap(), "first");
    process.signal(Signal::TERM);
    let line = process.wait_for_line("that it was told", |line| line == "told");
    assert_eq!(line, "told");
    assert_eq!(process.ended(), None);
    assert_eq!(process.kill().code(), None);
    assert!(process.ended().is_some());
}

#[test]
fn a_program_that_ends_without_a_line_has_no_first_line() {
    assert_eq!(shell("printf half").spawn().first_line(), None);
}
