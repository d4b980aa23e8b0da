//! Where the database is, and how it is to be spoken to.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// How long each address of the server may take to answer. Of the time that making a connection may
/// take, two that are silent leave some for a third.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long sent data may stay unacknowledged before the connection is given up.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(15);
/// After how long a silent connection is probed.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// What the driver has in its place when a URL does not say.
const KEEPALIVE_IDLE_UNSAID: Duration = Duration::from_hours(2);
/// How often it is probed then. The system's own pause is longer than the time for which data may
/// stay unacknowledged, which is not looked at before the next probe.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// What the server is told when a connection starts: no statement of ours runs for long, a
/// lock or a transaction that we lost must not be held for ever, and what a feed's counter makes
/// others wait for is then seen by them.
///
/// Statements are planned once and not each time: for one that takes arrays the server would often
/// choose to plan again, which takes longer than running it. That once may be while a table is empty,
/// where reading all of it looks cheap; but what we ask for is found by an index. Nothing is worth
/// compiling.
const SESSION_OPTIONS: &str = "-c statement_timeout=30s -c lock_timeout=10s \
     -c idle_in_transaction_session_timeout=30s -c plan_cache_mode=force_generic_plan \
     -c enable_seqscan=off -c jit=off -c default_transaction_isolation=read\\ committed";

/// What servers call their connections, unless the URL says otherwise.
pub(crate) const SERVER_NAME: &str = "pending-uploads";
/// What a copy calls its own, so that it is not taken for a server.
const COPY_NAME: &str = "pending-uploads copy";

/// Where the database is, and how it is to be spoken to.
#[derive(Clone)]
pub struct DatabaseConfig {
    postgres: tokio_postgres::Config,
    pool_size: NonZeroUsize,
    ca_file: Option<PathBuf>,
}

/// The configuration cannot be used. No variant repeats the URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The text is no PostgreSQL URL.
    #[error("not a PostgreSQL URL (postgres://user:password@host:port/database): {reason}")]
    Url {
        /// What is wrong with it.
        reason: String,
    },
    /// `sslmode` is none that is known.
    #[error("sslmode must be disable, allow, prefer, require, verify-ca or verify-full")]
    SslMode,
    /// The file of root certificates cannot be used.
    #[error("cannot use the certificates in {}: {reason}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// TLS cannot be set up at all.
    #[error("cannot set up TLS: {reason}")]
    Tls {
        /// What is wrong.
        reason: String,
    },
    /// The pool cannot be set up.
    #[error("cannot set up the connection pool: {reason}")]
    Pool {
        /// What is wrong.
        reason: String,
    },
}

impl DatabaseConfig {
    /// How many connections a pool has unless told otherwise.
    pub const DEFAULT_POOL_SIZE: NonZeroUsize = NonZeroUsize::new(16).unwrap();

    /// Reads a `postgres://` or `postgresql://` URL, as libpq has them ("Connection URIs").
    ///
    /// `sslmode` decides about TLS: absent, `disable` and `allow` never use it, `prefer` uses it
    /// when the server offers it, `require`, `verify-ca` and `verify-full` insist on it. Unlike
    /// libpq, a certificate is *always* verified, its name included, whenever TLS is used.
    ///
    /// Unless the URL says otherwise, an address has 3 seconds to answer (`connect_timeout`), and a
    /// connection whose peer is silent is probed after 30 (`keepalives_idle`), every 5
    /// (`keepalives_interval`), and given up after 15 (`tcp_user_timeout`, here in seconds).
    /// A server that takes no writes, such as a standby, is passed by; the next address is tried
    /// (`target_session_attrs`).
    ///
    /// # Errors
    /// [`ConfigError::Url`] and [`ConfigError::SslMode`].
    pub fn parse(url: &str) -> Result<Self, ConfigError> {
        let (url, ssl_mode) = take_ssl_mode(url)?;
        let mut postgres: tokio_postgres::Config =
            url.parse()
                .map_err(|error: tokio_postgres::Error| ConfigError::Url {
                    reason: root_cause(&error),
                })?;
        let options = match postgres.get_options() {
            Some(own) => format!("{SESSION_OPTIONS} {own}"),
            None => SESSION_OPTIONS.to_owned(),
        };
        postgres.ssl_mode(ssl_mode).options(options);
        notice_who_is_gone(&mut postgres);
        if postgres.get_application_name().is_none() {
            postgres.application_name(SERVER_NAME);
        }
        Ok(Self {
            postgres,
            pool_size: Self::DEFAULT_POOL_SIZE,
            ca_file: None,
        })
    }

    /// With a pool of at most that many connections. One more is used to listen for hints.
    #[must_use]
    pub fn with_pool_size(mut self, connections: NonZeroUsize) -> Self {
        self.pool_size = connections;
        self
    }

    /// With the root certificates of this PEM file in place of the system's.
    #[must_use]
    pub fn with_ca_file(mut self, path: PathBuf) -> Self {
        self.ca_file = Some(path);
        self
    }

    /// The same, with connections that are not taken for a server's.
    pub(crate) fn for_copying(&self) -> Self {
        let mut copying = self.clone();
        copying.postgres.application_name(COPY_NAME);
        copying
    }

    pub(crate) fn postgres(&self) -> &tokio_postgres::Config {
        &self.postgres
    }

    pub(crate) fn pool_size(&self) -> usize {
        self.pool_size.get()
    }

    pub(crate) fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }
}

/// Prints where the database is, and no credentials: `host:5432/database`.
impl fmt::Display for DatabaseConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.postgres.get_hosts().first() {
            Some(Host::Tcp(host)) => f.write_str(host)?,
            Some(Host::Unix(path)) => path.display().fmt(f)?,
            None => f.write_str("localhost")?,
        }
        write!(f, ":{}", self.postgres.get_ports().first().unwrap_or(&5432))?;
        write!(f, "/{}", self.postgres.get_dbname().unwrap_or_default())
    }
}

impl fmt::Debug for DatabaseConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseConfig")
            .field("database", &self.to_string())
            .field("pool_size", &self.pool_size)
            .field("ca_file", &self.ca_file)
            .finish_non_exhaustive()
    }
}

/// What the URL leaves open of how long a silent server is waited for. One that has lost its primary
/// role is a server of which nothing is wanted: connections that it was given up for must not go to
/// it once more, because they would be kept.
fn notice_who_is_gone(postgres: &mut tokio_postgres::Config) {
    if postgres.get_connect_timeout().is_none() {
        postgres.connect_timeout(CONNECT_TIMEOUT);
    }
    if postgres.get_tcp_user_timeout().is_none() {
        postgres.tcp_user_timeout(TCP_USER_TIMEOUT);
    }
    if postgres.get_keepalives_idle() == KEEPALIVE_IDLE_UNSAID {
        postgres.keepalives_idle(KEEPALIVE_IDLE);
    }
    if postgres.get_keepalives_interval().is_none() {
        postgres.keepalives_interval(KEEPALIVE_INTERVAL);
    }
    if postgres.get_target_session_attrs() == TargetSessionAttrs::Any {
        postgres.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
}

/// tokio-postgres knows fewer modes than libpq, and prefers TLS where libpq's users of a plain URL
/// on a private network do not expect a certificate to be checked; so the mode is read here.
fn take_ssl_mode(url: &str) -> Result<(String, SslMode), ConfigError> {
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(ConfigError::Url {
            reason: "the scheme is another".to_owned(),
        });
    }
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let (modes, others): (Vec<_>, Vec<_>) = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .partition(|pair| pair.starts_with("sslmode="));
    let mode = match modes.last().and_then(|pair| pair.split_once('=')) {
        None | Some((_, "disable" | "allow")) => SslMode::Disable,
        Some((_, "prefer")) => SslMode::Prefer,
        Some((_, "require" | "verify-ca" | "verify-full")) => SslMode::Require,
        Some(_) => return Err(ConfigError::SslMode),
    };
    Ok((format!("{base}?{}", others.join("&")), mode))
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_display_nor_debug_shows_a_password() {
        let config = DatabaseConfig::parse("postgres://user:hunter2@db.example:6543/app").unwrap();
        let shown = format!("{config} {config:?}");
        assert!(shown.starts_with("db.example:6543/app"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn tls_is_used_when_the_url_asks_for_it() {
        for (mode, expected) in [
            ("", SslMode::Disable),
            ("?sslmode=disable", SslMode::Disable),
            ("?sslmode=prefer", SslMode::Prefer),
            ("?sslmode=require", SslMode::Require),
            ("?application_name=x&sslmode=verify-full", SslMode::Require),
        ] {
            let config = DatabaseConfig::parse(&format!("postgres://h/d{mode}")).unwrap();
            assert_eq!(config.postgres().get_ssl_mode(), expected, "{mode}");
        }
    }

    /// Seconds: for an address, for what is not acknowledged, until the first probe, and between two.
    fn patience(url: &str) -> [u64; 4] {
        let config = DatabaseConfig::parse(url).unwrap();
        let postgres = config.postgres();
        [
            postgres.get_connect_timeout().copied().unwrap(),
            postgres.get_tcp_user_timeout().copied().unwrap(),
            postgres.get_keepalives_idle(),
            postgres.get_keepalives_interval().unwrap(),
        ]
        .map(|duration| duration.as_secs())
    }

    #[test]
    fn a_silent_server_is_given_up_soon_unless_the_url_says_otherwise() {
        assert_eq!(patience("postgres://h/d"), [3, 15, 30, 5]);
        let said = "postgres://h/d?connect_timeout=7&tcp_user_timeout=60\
                    &keepalives_idle=90&keepalives_interval=20";
        assert_eq!(patience(said), [7, 60, 90, 20]);
    }

    #[test]
    fn what_is_no_postgres_url_is_refused_without_being_repeated() {
        for url in [
            "",
            "h/d",
            "mysql://u:hunter2@h/d",
            "postgres://u:hunter2@h:port/d",
            "postgres://u:hunter2@h/d?sslmode=sometimes",
            "postgres://u:hunter2@h/d?nonsense=1",
        ] {
            let error = DatabaseConfig::parse(url).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
