//! The settings: options with environment variables on one side, what the parts need on the other.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, value_parser};
use pending_uploads_core::{
    InvalidLimits, InvalidToken, Limits, Quota, StorageConfig, SweepPolicy, Token,
};
use pending_uploads_pg::ConfigError;
use upload_http::{CallbackPolicy, MAX_PARTS, RegistrationPolicy, Settings};

use command_line::{LogFilter, Secret};

use crate::logging::DEFAULT_FILTER;
use crate::store::StoreSettings;
use crate::values::{AllowPrivate, Registration, address, seconds, seconds_or_none};

/// The shortest admin token, in bytes.
const MIN_ADMIN_TOKEN_BYTES: usize = 16;

/// Where files, feeds and workspaces are kept.
#[derive(Debug, Args)]
pub(crate) struct StoreFlags {
    /// The store: a PostgreSQL database, as postgres://user:password@host:port/database (add
    /// ?sslmode=require for TLS), or a data folder of the embedded SQLite, as `sqlite://FOLDER`
    /// [default: the embedded SQLite in the data folder below].
    #[arg(long, env, value_name = "URL", hide_env_values = true, global = true)]
    database_url: Option<Secret>,
    /// The data folder of the embedded SQLite, when no database is named.
    #[arg(
        long,
        env,
        value_name = "FOLDER",
        default_value = "./data",
        global = true
    )]
    data_dir: PathBuf,
    /// The PEM file of the certificates that the database's certificate is checked against
    /// [default: the system's].
    #[arg(long, env, value_name = "FILE", global = true)]
    database_ca_file: Option<PathBuf>,
    /// The most connections to the database, but for one more that listens for hints.
    #[arg(long, env, value_name = "NUMBER", default_value = "16", global = true)]
    #[arg(value_parser = value_parser!(u32).range(1..=1000))]
    database_pool_size: u32,
}

/// How to serve.
#[derive(Debug, Args)]
pub(crate) struct ServeFlags {
    /// The address and port to listen on; port 0 takes a free one.
    #[arg(long, env, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    #[arg(value_parser = address)]
    bind: SocketAddr,
    /// The token that opens every workspace, at least 16 characters [default: none, and nothing does].
    #[arg(long, env, value_name = "TOKEN", hide_env_values = true)]
    admin_token: Option<Secret>,
    /// Who may register new workspaces [default: open on a loopback address, else admin].
    #[arg(long, env, value_enum, value_name = "WHO")]
    registration: Option<Registration>,
    /// The largest file, in bytes.
    #[arg(long, env, value_name = "BYTES", default_value = "104857600")]
    #[arg(value_parser = value_parser!(u64).range(1..=MAX_BYTES))]
    max_file_bytes: u64,
    /// The largest upload request, in bytes, its multipart framing included; at least the largest
    /// file and 4096 more [default: the largest file and 1048576 more].
    #[arg(long, env, value_name = "BYTES")]
    #[arg(value_parser = value_parser!(u64).range(1..=MAX_REQUEST))]
    max_request_bytes: Option<u64>,
    /// The most files in one upload request.
    #[arg(long, env, value_name = "NUMBER", default_value = "64")]
    #[arg(value_parser = value_parser!(u32).range(1..=i64::from(MAX_PARTS)))]
    max_files: u32,
    /// The most bytes of files that may wait for one workspace.
    #[arg(long, env, value_name = "BYTES", default_value = "10737418240")]
    #[arg(value_parser = value_parser!(u64).range(1..=MAX_WAITING))]
    max_waiting_bytes: u64,
    /// The most files that may wait for one workspace.
    #[arg(long, env, value_name = "NUMBER", default_value = "10000")]
    #[arg(value_parser = value_parser!(u32).range(1..=1_000_000))]
    max_waiting_files: u32,
    /// How long a file waits for its workspace before it expires.
    #[arg(long, env, value_name = "SECONDS", default_value = "86400", value_parser = seconds)]
    upload_ttl_secs: Duration,
    /// How long the record of an acked file is kept.
    #[arg(long, env, value_name = "SECONDS", default_value = "3600")]
    #[arg(value_parser = seconds_or_none)]
    ack_retention_secs: Duration,
    /// How long rows stay in a workspace's feed.
    #[arg(long, env, value_name = "SECONDS", default_value = "2592000", value_parser = seconds)]
    feed_retention_secs: Duration,
    /// How long an upload may store nothing before its bytes are swept; at least twice the idle
    /// timeout.
    #[arg(long, env, value_name = "SECONDS", default_value = "3600", value_parser = seconds)]
    staging_lease_secs: Duration,
    /// How long after the end of a sweep the next one begins.
    #[arg(long, env, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    sweep_interval_secs: Duration,
    /// How long a peer may be silent in the middle of a request or an answer.
    #[arg(long, env, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    idle_timeout_secs: Duration,
    /// Whether push workspaces may have callback URLs that lead to loopback, private and link-local
    /// addresses.
    #[arg(long, env, value_enum, value_name = "BOOLEAN", default_value = "false")]
    #[arg(num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    allow_private_callbacks: AllowPrivate,
    /// How long to wait for the database at the start.
    #[arg(long, env, value_name = "SECONDS", default_value = "30")]
    #[arg(value_parser = seconds_or_none)]
    database_wait_secs: Duration,
    /// How long requests under way may take to finish once the server is told to stop.
    #[arg(long, env, value_name = "SECONDS", default_value = "30")]
    #[arg(value_parser = seconds_or_none)]
    shutdown_timeout_secs: Duration,
    /// What is logged: a level, or levels by module.
    #[arg(long = "log", env = "RUST_LOG", value_name = "FILTER", default_value = DEFAULT_FILTER)]
    log: LogFilter,
}

/// The largest file that can be allowed: 1 TiB.
const MAX_BYTES: u64 = 1 << 40;
/// The largest request that can be: 1 MiB more, which is what it is by default for such a file.
const MAX_REQUEST: u64 = MAX_BYTES + (1 << 20);
/// The most waiting bytes that can be allowed: 1 PiB.
const MAX_WAITING: u64 = 1 << 50;

/// Everything that serving needs, checked.
#[derive(Debug)]
pub(crate) struct ServeSettings {
    /// Where to listen.
    pub(crate) bind: SocketAddr,
    /// Where everything is kept.
    pub(crate) store: StoreSettings,
    /// How long to wait for a database at the start.
    pub(crate) database_wait: Duration,
    /// How the handlers behave.
    pub(crate) http: Settings,
    /// How files are kept.
    pub(crate) storage: StorageConfig,
    /// When they are swept.
    pub(crate) sweep: SweepPolicy,
    /// How long a sweep waits after the one before.
    pub(crate) sweep_interval: Duration,
    /// How long requests under way may take at the end.
    pub(crate) shutdown_timeout: Duration,
    /// What is logged.
    pub(crate) log: LogFilter,
}

/// A setting that is wrong in itself or does not fit another. Its message is one sentence without
/// any secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// The database's URL is wrong.
    #[error("DATABASE_URL cannot be used: {0}")]
    Database(ConfigError),
    /// The admin's token is none.
    #[error("ADMIN_TOKEN cannot be used: {0}")]
    AdminToken(InvalidToken),
    /// The admin's token could be guessed.
    #[error("ADMIN_TOKEN must have at least {MIN_ADMIN_TOKEN_BYTES} characters")]
    ShortAdminToken,
    /// The limits contradict each other.
    #[error("MAX_REQUEST_BYTES and MAX_FILE_BYTES contradict each other: {0}")]
    Limits(InvalidLimits),
    /// Uploads would be swept while the server still waits for their next byte.
    #[error(
        "STAGING_LEASE_SECS ({}) must be at least twice IDLE_TIMEOUT_SECS ({})",
        lease.as_secs(),
        idle.as_secs()
    )]
    Lease {
        /// The lease.
        lease: Duration,
        /// The tolerated silence.
        idle: Duration,
    },
}

impl StoreFlags {
    /// Checks them.
    pub(crate) fn parse(&self) -> Result<StoreSettings, SettingsError> {
        match &self.database_url {
            Some(url) => self.parse_url(url.expose()),
            None => Ok(StoreSettings::Sqlite(self.data_dir.clone())),
        }
    }

    /// Reads a URL, and adds what the options say of the database that it names.
    pub(crate) fn parse_url(&self, url: &str) -> Result<StoreSettings, SettingsError> {
        let store = StoreSettings::parse(url).map_err(SettingsError::Database)?;
        let StoreSettings::Postgres(config) = store else {
            return Ok(store);
        };
        // clap has refused zero.
        let size = usize::try_from(self.database_pool_size)
            .ok()
            .and_then(NonZeroUsize::new);
        let config = (*config).with_pool_size(size.unwrap_or(NonZeroUsize::MIN));
        Ok(StoreSettings::Postgres(Box::new(
            match &self.database_ca_file {
                Some(file) => config.with_ca_file(file.clone()),
                None => config,
            },
        )))
    }
}

impl ServeFlags {
    /// Checks them, and works out the defaults that depend on others.
    pub(crate) fn parse(self, store: StoreSettings) -> Result<ServeSettings, SettingsError> {
        // A batch renews its lease when a quarter of it is over and bytes arrive.
        if self.staging_lease_secs < self.idle_timeout_secs * 2 {
            return Err(SettingsError::Lease {
                lease: self.staging_lease_secs,
                idle: self.idle_timeout_secs,
            });
        }
        Ok(ServeSettings {
            http: self.http()?,
            bind: self.bind,
            store,
            database_wait: self.database_wait_secs,
            storage: StorageConfig {
                ttl: self.upload_ttl_secs,
                quota: Quota {
                    waiting_bytes: self.max_waiting_bytes,
                    waiting_files: self.max_waiting_files,
                },
                staging_lease: self.staging_lease_secs,
            },
            sweep: SweepPolicy {
                ack_retention: self.ack_retention_secs,
                staging_lease: self.staging_lease_secs,
                feed_retention: self.feed_retention_secs,
            },
            sweep_interval: self.sweep_interval_secs,
            shutdown_timeout: self.shutdown_timeout_secs,
            log: self.log,
        })
    }

    fn http(&self) -> Result<Settings, SettingsError> {
        Ok(Settings {
            limits: self.limits()?,
            idle_timeout: self.idle_timeout_secs,
            admin_token: self.admin_token.as_ref().map(admin_token).transpose()?,
            registration: self.registration_policy(),
            callbacks: match self.allow_private_callbacks {
                AllowPrivate::True => CallbackPolicy::AllowPrivate,
                AllowPrivate::False => CallbackPolicy::PublicOnly,
            },
        })
    }

    fn limits(&self) -> Result<Limits, SettingsError> {
        // clap has refused zeros.
        let bytes = |number| NonZeroU64::new(number).unwrap_or(NonZeroU64::MIN);
        let file = bytes(self.max_file_bytes);
        let files = NonZeroU32::new(self.max_files).unwrap_or(NonZeroU32::MIN);
        match self.max_request_bytes {
            Some(request) => {
                Limits::new(file, bytes(request), files).map_err(SettingsError::Limits)
            }
            None => Ok(Limits::for_files_of(file, files)),
        }
    }

    fn registration_policy(&self) -> RegistrationPolicy {
        match self.registration {
            Some(Registration::Open) => RegistrationPolicy::Open,
            None if self.bind.ip().is_loopback() => RegistrationPolicy::Open,
            Some(Registration::Admin) | None => RegistrationPolicy::AdminOnly,
        }
    }
}

fn admin_token(given: &Secret) -> Result<Token, SettingsError> {
    let text = given.expose();
    let token = text.parse().map_err(SettingsError::AdminToken)?;
    if text.len() < MIN_ADMIN_TOKEN_BYTES {
        return Err(SettingsError::ShortAdminToken);
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        store: StoreFlags,
        #[command(flatten)]
        serve: ServeFlags,
    }

    fn settings(arguments: &[&str]) -> Result<ServeSettings, SettingsError> {
        let name = ["platform-server", "--database-url=postgres://u:hunter2@h/d"];
        let flags = Flags::try_parse_from(name.iter().chain(arguments)).unwrap();
        flags.serve.parse(flags.store.parse()?)
    }

    #[test]
    fn without_a_url_the_data_folder_is_the_store() {
        for (arguments, store) in [
            (
                &["platform-server", "--data-dir=/srv/a"][..],
                "SQLite in /srv/a",
            ),
            (
                &["platform-server", "--database-url=sqlite:///srv/b"],
                "SQLite in /srv/b",
            ),
            (
                &["platform-server", "--database-url=postgres://h/d"],
                "PostgreSQL at h:5432/d",
            ),
        ] {
            let flags = Flags::try_parse_from(arguments).unwrap();
            assert_eq!(flags.store.parse().unwrap().to_string(), store);
        }
    }

    #[test]
    fn registration_is_open_by_default_on_loopback_only() {
        for (bind, expected) in [
            ("--bind=127.0.0.1:1", RegistrationPolicy::Open),
            ("--bind=[::1]:1", RegistrationPolicy::Open),
            ("--bind=0.0.0.0:1", RegistrationPolicy::AdminOnly),
            ("--bind=192.0.2.1:1", RegistrationPolicy::AdminOnly),
        ] {
            assert_eq!(
                settings(&[bind]).unwrap().http.registration,
                expected,
                "{bind}"
            );
        }
        let open = settings(&["--bind=0.0.0.0:1", "--registration=open"]).unwrap();
        assert_eq!(open.http.registration, RegistrationPolicy::Open);
    }

    #[test]
    fn the_request_cap_follows_the_file_cap() {
        let limits = settings(&["--max-file-bytes=5"]).unwrap().http.limits;
        assert_eq!(limits.per_file_bytes(), 5);
        assert_eq!(limits.per_request_bytes(), 5 + Limits::FRAMING_BYTES);
        let error = settings(&["--max-file-bytes=5", "--max-request-bytes=4100"]).unwrap_err();
        assert!(matches!(error, SettingsError::Limits(_)));
        assert!(settings(&["--max-file-bytes=5", "--max-request-bytes=4101"]).is_ok());
    }

    #[test]
    fn no_more_files_are_allowed_than_a_form_may_have_parts() {
        let most = settings(&["--max-files=1000"]).unwrap().http.limits;
        assert_eq!(most.max_files(), MAX_PARTS);
        assert!(Flags::try_parse_from(["platform-server", "--max-files=1001"]).is_err());
    }

    #[test]
    fn a_lease_that_silence_could_outlast_is_refused() {
        let error = settings(&["--staging-lease-secs=119", "--idle-timeout-secs=60"]).unwrap_err();
        assert!(matches!(error, SettingsError::Lease { .. }));
    }

    #[test]
    fn an_admin_token_that_could_be_guessed_is_refused() {
        let error = settings(&["--admin-token=123456789012345"]).unwrap_err();
        assert!(matches!(error, SettingsError::ShortAdminToken), "{error}");
        let error = settings(&["--admin-token="]).unwrap_err();
        assert!(matches!(error, SettingsError::AdminToken(_)), "{error}");
        assert!(settings(&["--admin-token=1234567890123456"]).is_ok());
    }

    #[test]
    fn no_secret_is_in_what_settings_print() {
        for wrong in ["hunter2", "hunter2 hunter2 hunter2"] {
            let error = settings(&[&format!("--admin-token={wrong}")]).unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        let shown = format!(
            "{:?}",
            settings(&["--admin-token=hunter2hunter2hunter2"]).unwrap()
        );
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn private_callbacks_are_allowed_by_the_bare_option_and_by_true() {
        for (arguments, expected) in [
            (&[][..], CallbackPolicy::PublicOnly),
            (&["--allow-private-callbacks"], CallbackPolicy::AllowPrivate),
            (
                &["--allow-private-callbacks=true"],
                CallbackPolicy::AllowPrivate,
            ),
            (
                &["--allow-private-callbacks=false"],
                CallbackPolicy::PublicOnly,
            ),
        ] {
            assert_eq!(
                settings(arguments).unwrap().http.callbacks,
                expected,
                "{arguments:?}"
            );
        }
    }
}
