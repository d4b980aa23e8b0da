//! What the folder holds after whatever happens to it.
