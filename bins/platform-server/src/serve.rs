//! Serving: everything wired together, from the first look at the store to the last answer.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::process;
use std::sync::Arc;
use std::time::Duration;

use command_line::StopSignals;
use log::{info, warn};
use metrics_exporter_prometheus::PrometheusHandle;
use pending_uploads_core::{Sweeper, SystemClock};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use upload_http::{BuildError, Platform, RegistrationPolicy, ServeOptions};

use crate::settings::ServeSettings;
use crate::store::{Parts, Store, StoreFailure};
use crate::{FAILED, logging, metrics};

/// How long what is left of the store's work may take at the end.
const STORE_PATIENCE: Duration = Duration::from_secs(5);
/// How long what is left of the background work may take at the very end.
const RUNTIME_PATIENCE: Duration = Duration::from_secs(2);

/// Why the server did not start, or did not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeFailure {
    /// The process cannot get what every process needs.
    #[error("cannot start")]
    Runtime(#[source] io::Error),
    /// Metrics cannot be recorded.
    #[error("cannot record metrics")]
    Metrics(#[source] metrics_exporter_prometheus::BuildError),
    /// The store cannot be served from.
    #[error(transparent)]
    Store(StoreFailure),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The platform cannot be put together.
    #[error("cannot put the platform together")]
    Build(#[source] BuildError),
    /// The web server failed.
    #[error("the web server failed")]
    Server(#[source] io::Error),
}

/// Serves until it is told to stop.
pub(crate) fn run(settings: ServeSettings) -> Result<(), ServeFailure> {
    logging::start(&settings.log);
    let metrics = metrics::install().map_err(ServeFailure::Metrics)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("platform")
        .build()
        .map_err(ServeFailure::Runtime)?;
    let outcome = runtime.block_on(serve(settings, metrics));
    runtime.shutdown_timeout(RUNTIME_PATIENCE);
    outcome
}

async fn serve(settings: ServeSettings, metrics: PrometheusHandle) -> Result<(), ServeFailure> {
    let mut signals = StopSignals::watch().map_err(ServeFailure::Runtime)?;
    let store = tokio::select! {
        store = Store::open(&settings.store, settings.database_wait) => {
            store.map_err(ServeFailure::Store)?
        }
        signal = signals.next() => {
            info!(signal = signal; "stopped before the database answered");
            return Ok(());
        }
    };
    let listener = TcpListener::bind(settings.bind).map_err(|source| ServeFailure::Listen {
        address: settings.bind,
        source,
    })?;
    announce(&listener, &settings)?;

    let shutdown = CancellationToken::new();
    let parts = store.parts(settings.storage, Arc::new(SystemClock));
    let platform = platform(&parts, &settings, metrics.clone(), &shutdown)?;
    let options = ServeOptions {
        shutdown_timeout: settings.shutdown_timeout,
        ..ServeOptions::default()
    };
    let server = upload_http::serve(listener, platform, options).map_err(ServeFailure::Server)?;
    tokio::spawn(metrics::keep_up(metrics));
    tokio::spawn(sweep(
        sweeper(&parts, &settings),
        settings.sweep_interval,
        shutdown.clone(),
    ));

    let handle = server.handle();
    tokio::spawn(async move {
        let signal = signals.next().await;
        info!(signal = signal; "stopping");
        shutdown.cancel();
        tokio::spawn(handle.stop(true));
        let again = signals.next_wish().await;
        warn!(signal = again; "stopped at once");
        process::exit(FAILED.into());
    });
    server.await.map_err(ServeFailure::Server)?;
    drop(parts);
    if timeout(STORE_PATIENCE, store.close()).await.is_err() {
        warn!("the store is still in use");
    }
    info!("stopped");
    Ok(())
}

/// How a first file gets here; empty where nobody can register.
fn first_upload(address: SocketAddr, settings: &ServeSettings) -> String {
    let as_admin = match settings.http.registration {
        RegistrationPolicy::Open => "",
        RegistrationPolicy::AdminOnly if settings.http.admin_token.is_none() => {
            return String::new();
        }
        RegistrationPolicy::AdminOnly => " -H 'Authorization: Bearer ADMIN_TOKEN'",
    };
    let address = callable(address);
    format!(
        "; for a first upload, register a workspace: curl http://{address}/registry/register \
         -H 'Content-Type: application/json'{as_admin} \
         -d '{{\"id\":\"UUID\",\"delivery_mode\":\"poll\"}}', then: curl \
         http://{address}/workspaces/UUID/chat/uploads -H 'Authorization: Bearer AUTH_TOKEN' \
         -F files=@FILE"
    )
}

/// Where a server that listens there can be called on this machine: not at all addresses at once.
fn callable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Says on stdout where the server listens, what it stores in and how to try it, and in the log
/// what it will not do.
fn announce(listener: &TcpListener, settings: &ServeSettings) -> Result<(), ServeFailure> {
    let address = listener.local_addr().map_err(ServeFailure::Runtime)?;
    let store = &settings.store;
    let hint = first_upload(address, settings);
    let line = format!("listening on http://{address}, storing in {store}{hint}\n");
    io::stdout()
        .write_all(line.as_bytes())
        .map_err(ServeFailure::Runtime)?;
    if settings.http.admin_token.is_none() {
        match settings.http.registration {
            RegistrationPolicy::Open => {
                warn!("ADMIN_TOKEN is not set: no token opens every workspace");
            }
            RegistrationPolicy::AdminOnly => warn!(
                "ADMIN_TOKEN is not set: no token opens every workspace, and no new workspace can \
                 register, because REGISTRATION is admin"
            ),
        }
    }
    Ok(())
}

fn platform(
    parts: &Parts,
    settings: &ServeSettings,
    metrics: PrometheusHandle,
    shutdown: &CancellationToken,
) -> Result<Platform, ServeFailure> {
    let builder = Platform::builder(Arc::clone(&parts.workspaces), Arc::clone(&parts.activity))
        .settings(settings.http.clone())
        .readiness(Arc::clone(&parts.readiness))
        .metrics(metrics::renderer(metrics))
        .clock(Arc::clone(&parts.clock))
        .shutdown(shutdown.clone());
    let builder = if let Some(storage) = &parts.storage {
        builder.staging(Arc::clone(storage))
    } else {
        warn!(
            "the database lacks the tables of waiting files: uploads for workspaces that poll are \
             refused until `platform-server migrate` has run and the server is restarted"
        );
        builder
    };
    builder.build().map_err(ServeFailure::Build)
}

/// Where there are no files there are feeds all the same.
fn sweeper(parts: &Parts, settings: &ServeSettings) -> Sweeper {
    let (activity, clock) = (Arc::clone(&parts.activity), Arc::clone(&parts.clock));
    match &parts.storage {
        Some(storage) => Sweeper::new(Arc::clone(storage), activity, clock, settings.sweep),
        None => Sweeper::of_feeds(activity, clock, settings.sweep.feed_retention),
    }
}

/// Sweeps until the server stops; a step under way is done whole or not at all.
async fn sweep(sweeper: Sweeper, every: Duration, shutdown: CancellationToken) {
    tokio::select! {
        () = sweeper.run(every) => {}
        () = shutdown.cancelled() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_at_all_addresses_is_called_at_its_own() {
        for (listens, called) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:8080", "[::1]:8080"),
            ("192.0.2.1:80", "192.0.2.1:80"),
        ] {
            assert_eq!(callable(listens.parse().unwrap()).to_string(), called);
        }
    }
}
