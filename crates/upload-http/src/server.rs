//! Our own HTTP server.
