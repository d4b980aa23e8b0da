//! What the person at the terminal sees: the report on stdout, how it goes on on stderr.

use std::io::{self, Write};

use crate::error::BenchError;

/// Prints what was asked for.
pub(crate) fn print(text: &str) -> Result<(), BenchError> {
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(BenchError::Setup)
}

/// Says what is being done.
#[expect(clippy::print_stderr, reason = "the person at the terminal reads this")]
pub(crate) fn progress(line: &str) {
    eprintln!("{line}");
}

/// Prints an error with its causes.
#[expect(clippy::print_stderr, reason = "the person at the terminal reads this")]
pub(crate) fn complain(error: &BenchError) {
    eprintln!("bench: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        eprintln!("  because: {source}");
        cause = source.source();
    }
}
