//! Which addresses a callback URL may lead to.
//!
//! A workspace chooses its own URL, and the platform calls it from inside its network: without a
//! check anybody who may register could have it call the machines beside it. Under
//! [`CallbackPolicy::PublicOnly`] only addresses that are globally reachable by the registries of
//! RFC 6890 are called. A URL is checked when it is registered, as far as it shows where it leads,
//! and again when it is called: a literal address before the call, a name when it is resolved, so
//! that a name which leads elsewhere later does not help.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use pending_uploads_core::CallbackUrl;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Host;

use crate::error::ApiError;
use crate::platform::CallbackPolicy;

/// Checks what a URL itself shows of where it leads: a literal address, in any of the forms that the
/// URL standard knows, or a name of this machine. Other names are checked when they are resolved.
///
/// # Errors
/// [`ApiError::CallbackRefused`].
pub(crate) fn check_callback(policy: CallbackPolicy, url: &CallbackUrl) -> Result<(), ApiError> {
    let callable = match url.as_url().host() {
        Some(Host::Ipv4(address)) => may_call(policy, address.into()),
        Some(Host::Ipv6(address)) => may_call(policy, address.into()),
        Some(Host::Domain(name)) => policy == CallbackPolicy::AllowPrivate || !is_local_name(name),
        None => false,
    };
    if callable {
        Ok(())
    } else {
        Err(ApiError::CallbackRefused)
    }
}

/// Resolves names to the addresses that may be called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CheckedResolver(pub(crate) CallbackPolicy);

/// A name leads only to addresses that are not called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the name leads to an address that is not called")]
pub(crate) struct AddressRefused;

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let Self(policy) = *self;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            callable_addresses(policy, found.collect())
        })
    }
}

fn callable_addresses(
    policy: CallbackPolicy,
    mut found: Vec<SocketAddr>,
) -> Result<Addrs, Box<dyn std::error::Error + Send + Sync>> {
    if found.is_empty() {
        return Err(io::Error::from(io::ErrorKind::NotFound).into());
    }
    found.retain(|address| may_call(policy, address.ip()));
    if found.is_empty() {
        return Err(AddressRefused.into());
    }
    Ok(Box::new(found.into_iter()))
}

fn may_call(policy: CallbackPolicy, address: IpAddr) -> bool {
    match policy {
        CallbackPolicy::AllowPrivate => true,
        CallbackPolicy::PublicOnly => is_public(address),
    }
}

/// `localhost` and what is under it never leave the machine (RFC 6761, section 6.3).
fn is_local_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// The blocks of the IANA IPv4 special-purpose registry (RFC 6890) that are not globally reachable,
/// multicast, and what is reserved; each with the length of its prefix.
const NOT_PUBLIC: [(Ipv4Addr, u32); 15] = [
    // This network.
    (Ipv4Addr::UNSPECIFIED, 8),
    // Private use (RFC 1918).
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    // Shared by a carrier's customers (RFC 6598).
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    // Loopback.
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    // Link-local (RFC 3927), where clouds keep their metadata.
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    // Protocol assignments (RFC 6890), and the relays of 6to4 (RFC 7526).
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    // Documentation (RFC 5737).
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    // Benchmarking (RFC 2544).
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    // Multicast (RFC 5771).
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    // Reserved (RFC 1112), and broadcast.
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

fn is_public_v4(address: Ipv4Addr) -> bool {
    !NOT_PUBLIC
        .iter()
        .any(|(block, prefix)| (address.to_bits() ^ block.to_bits()) >> (32 - prefix) == 0)
}

/// Global unicast addresses (RFC 4291, section 2.4) but for the special-purpose blocks in there; and
/// those that only wrap an IPv4 address, if that one is public.
fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // Mapped (RFC 4291, section 2.5.5.2), and translated by NAT64 (RFC 6052).
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            is_public_v4(join(high, low))
        }
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => is_public_v4(join(high, low)),
        // Protocol assignments (RFC 2928), Teredo and benchmarking among them, and documentation
        // (RFC 3849, RFC 9637).
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        [first, ..] => matches!(first, 0x2000..=0x3fff),
    }
}

fn join(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: [&str; 52] = [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.0.170",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.7",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::8.8.8.8",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:2::1",
        "2001:10::1",
        "2001:1ff::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "2002:a00:1::1",
        "2002:c0a8:101::1",
        "3fff::1",
        "3fff:fff::1",
        "5f00::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ];

    const CALLED: [&str; 18] = [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.1",
        "192.167.255.255",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2606:4700::1111",
        "2001:4860:4860::8888",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2002:808:808::1",
    ];

    #[test]
    fn an_address_that_is_not_globally_reachable_is_not_called() {
        for text in REFUSED {
            let address: IpAddr = text.parse().unwrap();
            assert!(!may_call(CallbackPolicy::PublicOnly, address), "{text}");
            assert!(may_call(CallbackPolicy::AllowPrivate, address), "{text}");
        }
    }

    #[test]
    fn a_public_address_is_called() {
        for text in CALLED {
            let address: IpAddr = text.parse().unwrap();
            assert!(may_call(CallbackPolicy::PublicOnly, address), "{text}");
        }
    }

    #[test]
    fn a_url_that_shows_where_it_leads_is_refused_in_every_spelling() {
        for text in [
            "http://127.0.0.1/",
            "http://0x7f.1/",
            "http://2130706433/",
            "http://0177.0.0.1:8080/x",
            "http://127.1/",
            "http://0/",
            "http://127.0.0.1./",
            "http://[::1]/",
            "http://[::ffff:7f00:1]/",
            "http://[fe80::1]/",
            "https://169.254.169.254/latest",
            "http://localhost/",
            "http://LOCALHOST:9000/",
            "http://localhost./",
            "http://agent.localhost/",
        ] {
            let url: CallbackUrl = text.parse().unwrap();
            let refused = Err(ApiError::CallbackRefused);
            assert_eq!(
                check_callback(CallbackPolicy::PublicOnly, &url),
                refused,
                "{text}"
            );
            assert_eq!(
                check_callback(CallbackPolicy::AllowPrivate, &url),
                Ok(()),
                "{text}"
            );
        }
    }

    #[test]
    fn a_public_address_and_a_name_that_only_its_resolver_knows_may_be_registered() {
        for text in [
            "https://1.1.1.1/",
            "https://agent.example/",
            "https://localhost.example/",
        ] {
            let url: CallbackUrl = text.parse().unwrap();
            assert_eq!(
                check_callback(CallbackPolicy::PublicOnly, &url),
                Ok(()),
                "{text}"
            );
        }
    }

    #[test]
    fn of_the_addresses_of_a_name_only_those_that_may_be_called_are_left() {
        let found = ["10.0.0.1:0", "8.8.8.8:0", "[::1]:0"].map(|text| text.parse().unwrap());
        let left: Vec<_> = callable_addresses(CallbackPolicy::PublicOnly, found.to_vec())
            .unwrap()
            .collect();
        assert_eq!(left, [found[1]]);
        let none = callable_addresses(CallbackPolicy::PublicOnly, vec![found[0]]);
        assert!(none.err().unwrap().is::<AddressRefused>());
        assert!(callable_addresses(CallbackPolicy::AllowPrivate, Vec::new()).is_err());
    }

    #[tokio::test]
    async fn a_name_that_leads_to_loopback_is_refused_when_it_is_resolved() {
        let resolve = |policy| CheckedResolver(policy).resolve("localhost".parse().unwrap());
        let refused = resolve(CallbackPolicy::PublicOnly).await.err().unwrap();
        assert!(refused.is::<AddressRefused>(), "{refused}");
        assert!(resolve(CallbackPolicy::AllowPrivate).await.is_ok());
    }
}
