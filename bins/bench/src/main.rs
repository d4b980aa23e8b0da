//! How fast a server is, beside what its database, its disk and its web framework could do on the
//! same machine at the same time.

mod error;
mod load;

fn main() {}
