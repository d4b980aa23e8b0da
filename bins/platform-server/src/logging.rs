//! Log lines on stderr, one an event, readable alone and filterable by field.

use std::io::{self, Write};

use env_logger::Builder;
use env_logger::fmt::Formatter;
use log::kv::{Error, Key, Source, Value, VisitSource};

/// What is logged by default: what happens here, and what goes wrong elsewhere. Of actix-http
/// nothing: anybody who sends it what is no HTTP could fill the log with errors, and an answer that
/// breaks off is logged here.
pub(crate) const DEFAULT_FILTER: &str = "warn,actix_http=off,platform_server=info,pending_uploads_core=info,\
     pending_uploads_pg=info,pending_uploads_sqlite=info,upload_http=info";

/// Starts logging to stderr what `filter` lets through.
pub(crate) fn start(filter: &str) {
    Builder::new()
        .parse_filters(filter)
        .format_timestamp_millis()
        .format_key_values(|formatter, fields| write_fields(formatter, fields))
        .init();
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
    use log::{Level, Metadata};

    use super::*;

    fn written(fields: &[(&str, &str)]) -> String {
        let mut line = Vec::new();
        for (key, value) in fields {
            (key, value).visit(&mut Fields(&mut line)).unwrap();
        }
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn by_default_nobody_fills_the_log_with_what_is_no_http() {
        let filter = env_filter::Builder::new().parse(DEFAULT_FILTER).build();
        for (target, level, logged) in [
            ("actix_http::h1::dispatcher", Level::Error, false),
            ("actix_server::builder", Level::Info, false),
            ("refinery_core::traits", Level::Info, false),
            ("tokio_postgres", Level::Error, true),
            ("platform_server::serve", Level::Info, true),
            ("pending_uploads_core::sweeper", Level::Info, true),
            ("pending_uploads_pg", Level::Info, true),
            ("pending_uploads_sqlite", Level::Info, true),
            ("upload_http::events", Level::Info, true),
            ("upload_http::events", Level::Debug, false),
        ] {
            let line = Metadata::builder().target(target).level(level).build();
            assert_eq!(filter.enabled(&line), logged, "{target} {level}");
        }
    }

    #[test]
    fn plain_values_are_written_plainly_and_others_quoted() {
        let fields = [
            ("size_bytes", "7"),
            ("filename", "a b"),
            ("error", "x\ny=\"z\""),
            ("e", ""),
        ];
        let expected = " size_bytes=7 filename=\"a b\" error=\"x\\ny=\\\"z\\\"\" e=\"\"";
        assert_eq!(written(&fields), expected);
    }
}
