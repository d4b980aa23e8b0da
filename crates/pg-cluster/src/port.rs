//! Free ports.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};

use crate::ClusterError;

const RANGE_FILE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
const LOWEST: u16 = 10_000;
const TRIES: u64 = 200;

/// A port of 127.0.0.1 that is free now.
///
/// It is below the range that the system takes the ports of outgoing connections from. In that
/// range a client's connection could sit on the port while a killed server is away, so that it
/// could not start again, or even connect to itself.
pub(crate) fn free_port() -> Result<u16, ClusterError> {
    let end = first_ephemeral_port();
    let random = RandomState::new();
    (0..TRIES)
        .filter_map(|try_number| pick(random.hash_one(try_number), end))
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .ok_or(ClusterError::NoFreePort)
}

fn pick(random: u64, end: u16) -> Option<u16> {
    let span = u64::from(end.checked_sub(LOWEST).filter(|span| *span > 0)?);
    u16::try_from(random % span).ok().map(|at| LOWEST + at)
}

/// Where the range of outgoing connections begins; 32,768 where nobody says.
fn first_ephemeral_port() -> u16 {
    fs::read_to_string(RANGE_FILE)
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok())
        .filter(|first| *first > LOWEST + 1000)
        .unwrap_or(32_768)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picked_port_is_within_its_bounds() {
        for random in [0, 1, 9_999, u64::MAX] {
            let port = pick(random, 12_000).unwrap();
            assert!((LOWEST..12_000).contains(&port), "{port}");
        }
        assert_eq!(pick(1, LOWEST), None);
    }

    #[test]
    fn a_free_port_can_be_listened_on() {
        let port = free_port().unwrap();
        assert!(port < first_ephemeral_port());
    }
}
