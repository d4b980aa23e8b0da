//! Log lines on stderr, one an event, readable alone and filterable by field.

use std::io::{self, Write};

use env_logger::Builder;
use env_logger::fmt::Formatter;
use log::kv::{Error, Key, Source, Value, VisitSource};

/// A logger to stderr for what `filter` lets through, which is the text of a
/// [`LogFilter`](crate::LogFilter) or a program's own default: `[time LEVEL module] event key=value …`, in
/// which a value that a space, a quote, an equals sign or a line break would make ambiguous is quoted.
/// It is not started yet.
pub fn log_lines(filter: &str) -> Builder {
    let mut builder = Builder::new();
    builder
        .parse_filters(filter)
        .format_timestamp_millis()
        .format_key_values(|formatter, fields| write_fields(formatter, fields));
    builder
}

fn write_fields(formatter: &mut Formatter, fields: &dyn Source) -> io::Result<()> {
    fields
        .visit(&mut Fields(formatter))
        .map_err(|_| io::ErrorKind::Other.into())
}

/// Writes ` key=value` for each field.
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
        for field in [
            ("size_bytes", "7"),
            ("filename", "a b"),
            ("error", "x\ny=\"z\""),
            ("e", ""),
        ] {
            field.visit(&mut Fields(&mut line)).unwrap();
        }
        let expected = " size_bytes=7 filename=\"a b\" error=\"x\\ny=\\\"z\\\"\" e=\"\"";
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    }
}
