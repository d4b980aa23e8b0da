//! Log lines on stderr, one an event, readable alone and filterable by field.

use std::io::{self, Write};

use command_line::log_lines;
use env_logger::Target;

use crate::progress::Bars;

/// What is logged by default: what happens here, and what goes wrong elsewhere.
pub(crate) const DEFAULT_FILTER: &str = "warn,inbox=info,inbox_client=info";

/// Starts logging to stderr what `filter` lets through, beside whatever `bars` are there.
pub(crate) fn start(filter: &str, bars: &Bars) {
    let mut builder = log_lines(filter);
    if bars.are_shown() {
        builder.target(Target::Pipe(Box::new(Beside(bars.clone()))));
    }
    builder.init();
}

/// Stderr, while there are bars on it. Each line comes as one write.
struct Beside(Bars);

impl Write for Beside {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.aside(|| io::stderr().write_all(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
