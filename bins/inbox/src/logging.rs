//! Log lines on stderr, one an event, readable alone and filterable by field.

use std::io::{self, Write};

use env_logger::fmt::Formatter;
use env_logger::{Builder, Target};
use log::kv::{Error, Key, Source, Value, VisitSource};

use crate::progress::Bars;

/// What is logged by default: what happens here, and what goes wrong elsewhere.
pub(crate) const DEFAULT_FILTER: &str = "warn,inbox=info,inbox_client=info";

/// Starts logging to stderr what `filter` lets through, beside whatever `bars` are there.
pub(crate) fn start(filter: &str, bars: &Bars) {
    let mut builder = Builder::new();
    if bars.are_shown() {
        builder.target(Target::Pipe(Box::new(Beside(bars.clone()))));
    }
    builder
        .parse_filters(filter)
        .format_timestamp_millis()
        .format_key_values(|formatter, fields| write_fields(formatter, fields))
        .init();
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

fn write_fields(formatter: &mut Formatter, fields: &dyn Source) -> io::Result<()> {
    fields
        .visit(&mut Fields(formatter))
        .map_err(|_| io::ErrorKind::Other.into())
}

/// Writes ` key=value` for each field; a value that a space, a quote, an equals sign or a line break
/// would make ambiguous is quoted.
struct Fields<'a, W>(&'a mut W);

impl<'kvs, W: Write> VisitSource<'kvs> for Fields<'_, W> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let text = value.to_string();
        if needs_quotes(&text) {
            write!(self.0, " {key}={text:?}")?;
        } else {
            write!(self.0, " {key}={text}")?;
        }
        Ok(())
    }
}

fn needs_quotes(text: &str) -> bool {
    let ambiguous = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '=');
    text.is_empty() || text.contains(ambiguous)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_values_are_written_plainly_and_others_quoted() {
        let mut line = Vec::new();
        for (key, value) in [("size_bytes", "7"), ("path", "/a b"), ("e", "")] {
            (key, value).visit(&mut Fields(&mut line)).unwrap();
        }
        let line = String::from_utf8(line).unwrap();
        assert_eq!(line, " size_bytes=7 path=\"/a b\" e=\"\"");
    }
}
