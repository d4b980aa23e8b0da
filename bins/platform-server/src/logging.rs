//! What is logged, and what never is.

use command_line::{LogFilter, log_lines};
use log::{Level, Log, Metadata, Record};

/// What is logged by default: what happens here, and what goes wrong elsewhere. Of actix-http
/// nothing: anybody who sends it what is no HTTP could fill the log with errors, and an answer that
/// breaks off is logged here.
pub(crate) const DEFAULT_FILTER: &str = "warn,actix_http=off,platform_server=info,pending_uploads_core=info,\
     pending_uploads_pg=info,pending_uploads_sqlite=info,upload_http=info";

/// Starts the log. PostgreSQL's driver logs each statement with its values, among them secrets and the
/// bytes of files; that is let through by no filter.
pub(crate) fn start(filter: &LogFilter) {
    let logger = log_lines(filter.as_str()).build();
    let most = logger.filter();
    if log::set_boxed_logger(Box::new(Discreet(logger))).is_ok() {
        log::set_max_level(most);
    }
}

/// A logger without what carries values.
struct Discreet<L>(L);

fn carries_values(metadata: &Metadata<'_>) -> bool {
    metadata.level() > Level::Info && metadata.target().starts_with("tokio_postgres")
}

impl<L: Log> Log for Discreet<L> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        !carries_values(metadata) && self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !carries_values(record.metadata()) {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn the_values_of_statements_are_logged_by_no_filter() {
        let filter = env_filter::Builder::new().parse("trace").build();
        for (target, level, carries) in [
            ("tokio_postgres::query", Level::Debug, true),
            ("tokio_postgres::connection", Level::Trace, true),
            ("tokio_postgres::connection", Level::Info, false),
            ("pending_uploads_pg::sweep", Level::Debug, false),
        ] {
            let line = Metadata::builder().target(target).level(level).build();
            assert!(filter.enabled(&line));
            assert_eq!(carries_values(&line), carries, "{target} {level}");
        }
    }
}
