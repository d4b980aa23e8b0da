//! What a journal says after whatever happens to it.
