//! How long the HTTP face itself takes: what is between the bytes of a request and the traits, and
//! back, without a socket, without a store and without a digest.
//!
//! `cargo bench -p upload-http --bench http`; with `-- --test` it only shows that it runs.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

mod answers;
mod multipart;
mod place;

use std::time::Duration;

use criterion::Criterion;

use crate::place::Place;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .sample_size(50)
        .configure_from_args();
    let place = Place::new();
    multipart::uploads(&mut criterion, &place);
    answers::feeds(&mut criterion, &place);
    answers::contents(&mut criterion, &place);
    criterion.final_summary();
}
