# One line each over cargo; `just --list` names them.

# Run the server (see `just run --help`).
run *arguments:
    cargo run --package platform-server -- {{arguments}}

# Run the inbox (see `just inbox --help`).
inbox *arguments:
    cargo run --package inbox -- {{arguments}}

# Run every test against a private PostgreSQL cluster.
test *arguments:
    cargo xtask test {{arguments}}

# Check formatting, clippy and rustdoc.
lint:
    cargo xtask lint

# Build the documentation.
doc:
    cargo xtask doc

# Measure the server on both backends (see docs/benchmarks.md).
bench *arguments:
    cargo xtask bench {{arguments}}
