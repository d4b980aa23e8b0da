//! Which addresses a callback URL may lead to.
