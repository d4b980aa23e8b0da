//! The HTTP client, and how it is set up.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use log::warn;
use reqwest::Client;
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

use super::error::PlatformError;

const USER_AGENT: &str = concat!("pending-uploads-inbox/", env!("CARGO_PKG_VERSION"));
/// How long a connection is kept without a request. Servers keep theirs for a little longer, so that
/// they seldom close one just as it is used again.
const KEPT: Duration = Duration::from_secs(20);

/// Where the certificates of a TLS server are anchored: in the system's store, read once.
static ROOTS: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        warn!("the system has no root certificates: no https platform can be called");
    }
    Arc::new(roots)
});

/// Makes a client that follows no redirect, because the token would go along, and asks for the bytes
/// as they are. The proxies of the environment are heeded.
pub(super) fn client(connect_timeout: Duration) -> Result<Client, PlatformError> {
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| PlatformError::Tls(error.into()))?
        .with_root_certificates(Arc::clone(&ROOTS))
        .with_no_client_auth();
    let always = [(ACCEPT_ENCODING, HeaderValue::from_static("identity"))];
    Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(USER_AGENT)
        .default_headers(HeaderMap::from_iter(always))
        .redirect(Policy::none())
        .referer(false)
        .connect_timeout(connect_timeout)
        .pool_idle_timeout(KEPT)
        .tcp_nodelay(true)
        .build()
        .map_err(|error| PlatformError::Client(error.into()))
}
