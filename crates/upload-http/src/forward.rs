//! Sends what a push workspace receives on to its URL.
