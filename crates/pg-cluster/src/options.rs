//! What a cluster is like.

/// Whether the cluster forces its writes to the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// It does, as in production: for tests of power cuts, and for benchmarks.
    Fsync,
    /// It does not. A killed PostgreSQL still loses nothing; a machine without power would.
    #[default]
    NoFsync,
}

/// Whether the cluster offers TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tls {
    /// It does not.
    #[default]
    Off,
    /// It does, with a certificate for `localhost` and 127.0.0.1 by an authority of its own (see
    /// [`Cluster::ca_file`](crate::Cluster::ca_file)). Connections without TLS are taken, too.
    OwnCertificate,
}

/// What a cluster is like. The default: no forced writes, 100 connections, no TLS.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    pub(crate) durability: Durability,
    pub(crate) max_connections: u32,
    pub(crate) tls: Tls,
    pub(crate) settings: Vec<(String, String)>,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            max_connections: 100,
            tls: Tls::default(),
            settings: Vec::new(),
        }
    }
}

impl ClusterOptions {
    /// Whether writes are forced to the disk.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// How many connections the cluster takes at once.
    #[must_use]
    pub fn max_connections(mut self, connections: u32) -> Self {
        self.max_connections = connections;
        self
    }

    /// Whether the cluster offers TLS.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// Adds a server setting, as in `postgresql.conf`; it wins over what this crate sets.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// Loads `pg_stat_statements`, for benchmarks that count statements; a database still needs
    /// `CREATE EXTENSION pg_stat_statements`.
    #[must_use]
    pub fn with_statement_statistics(self) -> Self {
        self.setting("shared_preload_libraries", "pg_stat_statements")
    }
}
