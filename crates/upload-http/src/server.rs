//! Our own HTTP server, for what the ready-made one does not let its users set.
//!
//! It is actix-http behind actix-server, as actix-web's own is, and differs in this:
//!
//! - `Expect: 100-continue` on an upload is answered after authentication and the announced length,
//!   so that a body which would be refused is not sent (RFC 9110, section 10.1.1);
//! - a connection whose request was answered before its body had arrived is read for a while
//!   longer, so that the answer can be read, and then closed; never drained without an end;
//! - on Linux, a connection whose peer takes nothing for the idle timeout is ended by the kernel,
//!   even when the peer is alive and only stopped reading;
//! - the head of each request has a deadline, and not of a connection's first one alone;
//! - small answers are sent at once (`TCP_NODELAY`);
//! - a socket is read in small bites, so that an upload holds little memory here.

mod expect;
mod measured;
mod requests;
mod unread;

use std::io;
use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::time::Duration;

use actix_http::{HttpService, KeepAlive, Protocol, Request};
use actix_server::Server;
use actix_service::{
    IntoServiceFactory, ServiceFactoryExt, apply_fn_factory, fn_service, map_config,
};
use actix_web::dev::AppConfig;
use actix_web::rt::net::TcpStream;
use actix_web::{App, web};

use self::measured::MeasuredStream;
use self::requests::Requests;
use crate::platform::Platform;
use crate::routes::{configure, unknown_route};

/// The most workers that actix-server takes.
const MAX_WORKERS: usize = 512;
/// How long a connection may be kept without a request.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long a connection is still read after an answer that came before the body's end.
const LINGER: Duration = Duration::from_secs(5);

/// How a server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServeOptions {
    /// Threads that serve; at most 512.
    pub workers: NonZeroUsize,
    /// How long requests under way may take once the server is told to stop. Whole seconds; rounded
    /// up.
    pub shutdown_timeout: Duration,
    /// The most connections at once. Each worker gets an equal share, rounded up; a connection
    /// beyond waits until one ends.
    pub max_connections: NonZeroUsize,
    /// How long the head of a request may take: from the connection's beginning on for the first
    /// one, and from its own first byte on for each later one.
    pub head_timeout: Duration,
}

/// One worker for each core, 30 seconds to stop, 4,096 connections, 10 seconds for a head.
impl Default for ServeOptions {
    fn default() -> Self {
        const MAX_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
        Self {
            workers: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            shutdown_timeout: Duration::from_secs(30),
            max_connections: MAX_CONNECTIONS,
            head_timeout: Duration::from_secs(10),
        }
    }
}

/// Serves every route of `platform` on `listener`, until the server is told to stop.
///
/// The server runs while what is answered is awaited; it listens to no signal of the operating
/// system. `Server::handle().stop(true)` stops it gently: no connection is taken any more, whoever
/// waits for a feed is answered at once, and what is under way may finish within
/// [`ServeOptions::shutdown_timeout`]. The platform's own shutdown token is not cancelled by that,
/// since another server may share the platform. A dropped server stops as it would with
/// `stop(false)`: what is under way is cut off.
///
/// # Errors
/// The listener could not be set up.
pub fn serve(
    listener: TcpListener,
    platform: Platform,
    options: ServeOptions,
) -> io::Result<Server> {
    let address = listener.local_addr()?;
    let workers = options.workers.get().min(MAX_WORKERS);
    let builder = Server::build()
        .workers(workers)
        .max_concurrent_connections(options.max_connections.get().div_ceil(workers))
        .shutdown_timeout(whole_seconds(options.shutdown_timeout))
        .disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let waits_end = platform.shutdown().child_token();
    let platform = platform.stopped_by(waits_end.clone());
    let idle_timeout = platform.settings().idle_timeout;
    let service = move || {
        let (stopping, waits_end) = (stopping.clone(), waits_end.clone());
        let expecting = platform.clone();
        let http = HttpService::build()
            .keep_alive(KeepAlive::Timeout(KEEP_ALIVE))
            .client_request_timeout(options.head_timeout)
            .on_connect_ext(|stream: &MeasuredStream, connection| {
                connection.insert(stream.requests().clone());
            })
            .client_disconnect_timeout(LINGER)
            .local_addr(address)
            .graceful_shutdown_signal(move || {
                let (stopping, waits_end) = (stopping.clone(), waits_end.clone());
                async move {
                    stopping.notified().await;
                    waits_end.cancel();
                }
            })
            .expect(fn_service(move |request| {
                expect::before_continue(expecting.clone(), request)
            }))
            .finish(app(&platform));
        let connected = fn_service(move |stream: TcpStream| async move {
            set_up(&stream, idle_timeout);
            let peer = stream.peer_addr().ok();
            let requests = Requests::new(options.head_timeout);
            let stream = MeasuredStream::new(stream, requests);
            Ok((stream, Protocol::Http1, peer))
        });
        connected.and_then(http)
    };
    Ok(builder.listen("pending-uploads", listener, service)?.run())
}

/// The routes as a service over requests whose bodies are never drained without an end.
fn app(
    platform: &Platform,
) -> impl actix_service::ServiceFactory<
    Request,
    Config = (),
    Response = actix_http::Response<unread::HeldBody>,
    Error = actix_http::Response<actix_http::body::BoxBody>,
    InitError = (),
> + use<> {
    let app = App::new()
        .configure(configure(platform))
        .default_service(web::to(unknown_route))
        .into_factory();
    let app = map_config(app, |()| AppConfig::default());
    apply_fn_factory(app, unread::hold_payload)
        .map_err(|error: actix_web::Error| error.error_response().into())
}

/// Rounds up, because a second too few would cut requests off.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// What cannot be set only makes the connection worse.
fn set_up(stream: &TcpStream, idle_timeout: Duration) {
    if let Err(error) = stream.set_nodelay(true) {
        log::debug!(error:% = error; "TCP_NODELAY could not be set");
    }
    end_when_stuck(stream, idle_timeout);
}

/// The kernel counts it in milliseconds, in a signed number: three weeks and a half.
#[cfg(target_os = "linux")]
const LONGEST_USER_TIMEOUT: Duration = Duration::from_millis(i32::MAX as u64);

/// Lets the kernel end the connection when the peer has taken nothing for `idle_timeout`, be it
/// gone or only not reading (`TCP_USER_TIMEOUT`, tcp(7)). Without it a download that nobody reads
/// would be there for ever.
#[cfg(target_os = "linux")]
fn end_when_stuck(stream: &TcpStream, idle_timeout: Duration) {
    let idle_timeout = idle_timeout.min(LONGEST_USER_TIMEOUT);
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(idle_timeout)) {
        log::warn!(error:% = error; "TCP_USER_TIMEOUT could not be set");
    }
}

#[cfg(not(target_os = "linux"))]
fn end_when_stuck(_: &TcpStream, _: Duration) {}
