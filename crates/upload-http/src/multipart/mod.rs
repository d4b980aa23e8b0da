//! Reads `multipart/form-data` (RFC 7578) part by part, within limits.
