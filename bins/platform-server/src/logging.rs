//! What is logged.

/// What is logged by default: what happens here, and what goes wrong elsewhere. Of actix-http
/// nothing: anybody who sends it what is no HTTP could fill the log with errors, and an answer that
/// breaks off is logged here.
pub(crate) const DEFAULT_FILTER: &str = "warn,actix_http=off,platform_server=info,pending_uploads_core=info,\
     pending_uploads_pg=info,pending_uploads_sqlite=info,upload_http=info";

#[cfg(test)]
mod tests {
    use log::{Level, Metadata};

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
}
