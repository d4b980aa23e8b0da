//! A client that costs as little as it can: what it takes is taken from the server under
//! measurement, which shares its cores.

mod answer;
mod connection;
mod request;

pub(crate) use connection::Connection;
pub(crate) use request::{Form, Request};

#[cfg(test)]
mod tests;
