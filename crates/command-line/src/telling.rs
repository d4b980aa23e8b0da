//! Telling the person who started a program.

use std::io::{self, Write};

/// Says a sentence on stderr, with the name of the program before it. Where nobody reads stderr any
/// more, nobody is told; the exit code still says how it ended.
pub fn tell(program: &str, sentence: &str) {
    // One write, so that nothing of another process comes in between.
    let line = format!("{program}: {sentence}\n");
    io::stderr().write_all(line.as_bytes()).ok();
}
