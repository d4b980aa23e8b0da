//! A server under measurement, on a store of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use clap::ValueEnum;
use pg_cluster::{Cluster, ClusterOptions, Durability};
use serde_json::Value;
use server_harness::database::migrate;
use server_harness::{DataFolder, Server, ServerBuilder};
use uuid::Uuid;

use crate::cell::Backend;
use crate::client::{Connection, Request};
use crate::error::BenchError;
use crate::meters::{Database, Meters, Process};

/// What is set on every server, beside where it keeps everything: room for files of 1 GB, and for
/// more files than wait in one workspace in earnest.
pub(crate) const SETTINGS: [(&str, &str); 3] = [
    ("MAX_FILE_BYTES", "2147483648"),
    ("MAX_WAITING_BYTES", "1099511627776"),
    ("MAX_WAITING_FILES", "1000000"),
];
/// How many workspaces the files of a load are spread over.
pub(crate) const WORKSPACES: usize = 256;

/// How servers and floors reach PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Way {
    /// Over its socket in the file system, as servers on the same machine do.
    Socket,
    /// Over TCP on 127.0.0.1.
    Tcp,
}

/// The PostgreSQL of all sites: it forces its writes to the disk, and has PostgreSQL's own settings
/// but for the statistics.
#[derive(Debug)]
pub(crate) struct Host {
    cluster: Option<Cluster>,
    template: String,
    way: Way,
    settings: Vec<(String, String)>,
}

impl Host {
    /// Starts it, unless nobody needs it. `settings` are set on each server, after [`SETTINGS`].
    pub(crate) fn start(
        backends: &[Backend],
        way: Way,
        settings: Vec<(String, String)>,
    ) -> Result<Self, BenchError> {
        let mut host = Self {
            cluster: None,
            template: String::new(),
            way,
            settings,
        };
        if backends.contains(&Backend::Postgres) {
            let options = ClusterOptions::default()
                .durability(Durability::Fsync)
                .with_statement_statistics();
            let cluster = Cluster::start(options)?;
            host.template = cluster.create_database()?;
            migrate(&cluster.url(&host.template), &[]);
            host.cluster = Some(cluster);
        }
        Ok(host)
    }

    /// The cluster, if there is one.
    pub(crate) fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    fn server(&self, url: &str) -> Server {
        let defaults = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = defaults.iter().chain(&self.settings);
        settings
            .fold(ServerBuilder::on(url), |builder, (name, value)| {
                builder.set(name, value)
            })
            .start()
    }

    /// A server on a fresh store of the backend.
    pub(crate) async fn open(&self, backend: Backend) -> Result<Site<'_>, BenchError> {
        let store = match (&self.cluster, backend) {
            (Some(cluster), Backend::Postgres) => self.database(cluster).await?,
            _ => Store::Folder(DataFolder::create()),
        };
        let server = self.server(&store.url());
        Ok(Site {
            host: self,
            server,
            store,
        })
    }

    async fn database<'a>(&self, cluster: &'a Cluster) -> Result<Store<'a>, BenchError> {
        let name = format!("bench_{}", Uuid::new_v4().simple());
        let create = format!("CREATE DATABASE {name} TEMPLATE {}", self.template);
        cluster.sql("postgres", &create)?;
        let way = self.way;
        let fresh = FreshDatabase { cluster, name, way };
        let pid = cluster.pid().unwrap_or_default();
        let watched = Database::watch(&cluster.admin_url(), &fresh.name, pid).await?;
        Ok(Store::Database(fresh, Box::new(watched)))
    }

    /// A database without a table; none when there is no PostgreSQL.
    pub(crate) fn empty_database(&self) -> Result<Option<FreshDatabase<'_>>, BenchError> {
        let Some(cluster) = &self.cluster else {
            return Ok(None);
        };
        let name = cluster.create_database()?;
        let way = self.way;
        Ok(Some(FreshDatabase { cluster, name, way }))
    }
}

/// A database of one's own, which is dropped with this value.
#[derive(Debug)]
pub(crate) struct FreshDatabase<'a> {
    cluster: &'a Cluster,
    name: String,
    way: Way,
}

impl FreshDatabase<'_> {
    /// Its URL.
    pub(crate) fn url(&self) -> String {
        match self.way {
            Way::Socket => self.cluster.socket_url(&self.name),
            Way::Tcp => self.cluster.url(&self.name),
        }
    }

    /// Its URL by way of another TCP port.
    fn url_through(&self, port: u16) -> String {
        let [from, to] = [self.cluster.port(), port].map(|port| format!(":{port}/"));
        self.cluster.url(&self.name).replacen(&from, &to, 1)
    }
}

impl Drop for FreshDatabase<'_> {
    fn drop(&mut self) {
        // One that cannot be dropped goes with its cluster.
        drop(self.cluster.drop_database(&self.name));
    }
}

#[derive(Debug)]
enum Store<'a> {
    Database(FreshDatabase<'a>, Box<Database>),
    Folder(DataFolder),
}

impl Store<'_> {
    fn url(&self) -> String {
        match self {
            Self::Database(database, _) => database.url(),
            Self::Folder(folder) => folder.url(),
        }
    }
}

/// A server, and the store that goes with it.
#[derive(Debug)]
pub(crate) struct Site<'a> {
    host: &'a Host,
    // Before the store, so that it ends before its store does.
    server: Server,
    store: Store<'a>,
}

/// A registered workspace.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    pub(crate) id: String,
    pub(crate) token: String,
}

impl Workspace {
    /// A path below it.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/workspaces/{}/{rest}", self.id)
    }
}

impl Site<'_> {
    /// Where the server listens.
    pub(crate) fn address(&self) -> Result<SocketAddr, BenchError> {
        address_of(&self.server)
    }

    /// The server's own URL.
    pub(crate) fn url(&self) -> &str {
        self.server.url()
    }

    /// What the costs of a load are read from.
    pub(crate) fn meters(&self) -> Meters<'_> {
        Meters {
            server: Process::of(self.server.id()),
            database: self.database(),
        }
    }

    /// Its database, if it has one.
    pub(crate) fn database(&self) -> Option<&Database> {
        match &self.store {
            Store::Database(_, watched) => Some(watched),
            Store::Folder(_) => None,
        }
    }

    /// Where the database itself listens.
    pub(crate) fn database_address(&self) -> Option<SocketAddr> {
        match &self.store {
            Store::Database(database, _) => {
                Some((Ipv4Addr::LOCALHOST, database.cluster.port()).into())
            }
            Store::Folder(_) => None,
        }
    }

    /// One more server on the same database, which it reaches at another port.
    pub(crate) fn server_through(&self, port: u16) -> Server {
        match &self.store {
            Store::Database(database, _) => self.host.server(&database.url_through(port)),
            Store::Folder(folder) => self.host.server(&folder.url()),
        }
    }

    /// Registers so many workspaces.
    pub(crate) async fn workspaces(
        &self,
        number: usize,
    ) -> Result<Arc<Vec<Workspace>>, BenchError> {
        workspaces(self.address()?, number).await
    }

    /// Ends the server at once, and removes the store.
    pub(crate) fn end(self) {
        self.server.kill();
    }
}

/// Where a server listens.
pub(crate) fn address_of(server: &Server) -> Result<SocketAddr, BenchError> {
    server.address().parse().map_err(|_| BenchError::NoHttp)
}

/// Registers so many workspaces with the server at `address`.
pub(crate) async fn workspaces(
    address: SocketAddr,
    number: usize,
) -> Result<Arc<Vec<Workspace>>, BenchError> {
    let mut connection = Connection::open(address).await?;
    let mut workspaces = Vec::with_capacity(number);
    for _ in 0..number {
        workspaces.push(register(&mut connection).await?);
    }
    Ok(Arc::new(workspaces))
}

async fn register(connection: &mut Connection) -> Result<Workspace, BenchError> {
    let id = Uuid::new_v4().to_string();
    let body = format!("{{\"id\":\"{id}\",\"delivery_mode\":\"poll\"}}");
    let request = Request::post("/registry/register", None, &body);
    let answer: Value = serde_json::from_slice(connection.call(&request).await?)?;
    let token = answer["auth_token"].as_str().map(str::to_owned);
    let token = token.ok_or_else(|| BenchError::Incomplete {
        request: request.title(),
        missing: "a token",
    })?;
    Ok(Workspace { id, token })
}
