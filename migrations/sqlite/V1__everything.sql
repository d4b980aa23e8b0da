-- Workspaces, their feeds, and the files that wait for them. Ids are the 16 bytes of a UUID, times
-- are microseconds since 1970-01-01T00:00:00Z.

CREATE TABLE workspaces (
    id             BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    delivery_mode  TEXT    NOT NULL CHECK (delivery_mode IN ('push', 'poll')),
    callback_url   TEXT,
    -- Sent with each call to a push workspace, and so kept in clear.
    inbound_secret TEXT    NOT NULL,
    -- The digest of the bearer token; the token itself is stored nowhere.
    token_sha256   BLOB    NOT NULL CHECK (length(token_sha256) = 32),
    agent_card     TEXT,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The number of the newest row in each workspace's feed.
CREATE TABLE feed_counters (
    workspace_id BLOB    NOT NULL PRIMARY KEY REFERENCES workspaces (id) ON DELETE CASCADE,
    last_seq     INTEGER NOT NULL DEFAULT 0 CHECK (last_seq >= 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE activity (
    id            BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    workspace_id  BLOB    NOT NULL,
    seq           INTEGER NOT NULL,
    activity_type TEXT    NOT NULL,
    source_id     BLOB,
    target_id     BLOB,
    method        TEXT,
    summary       TEXT,
    request_body  TEXT,
    response_body TEXT,
    duration_ms   INTEGER,
    status        TEXT    NOT NULL CHECK (status IN ('ok', 'error')),
    error_detail  TEXT,
    created_at    INTEGER NOT NULL
) STRICT;

-- A poll reads a workspace's rows after a number, or from the newest back.
CREATE UNIQUE INDEX activity_seq ON activity (workspace_id, seq);

-- Pruning walks the feeds from their oldest row.
CREATE INDEX activity_created_at ON activity (created_at, id);

-- One narrow row for each published file.
CREATE TABLE pending_uploads (
    file_id       BLOB    NOT NULL PRIMARY KEY CHECK (length(file_id) = 16),
    workspace_id  BLOB    NOT NULL,
    filename      TEXT    NOT NULL CHECK (length(filename) BETWEEN 1 AND 100),
    original_name TEXT    NOT NULL,
    mimetype      TEXT    NOT NULL,
    size_bytes    INTEGER NOT NULL CHECK (size_bytes > 0),
    sha256        BLOB    NOT NULL CHECK (length(sha256) = 32),
    -- Where its bytes are: 'row' in pending_upload_bytes, 'file' in the folder beside the database.
    placement     TEXT    NOT NULL CHECK (placement IN ('row', 'file')),
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL CHECK (expires_at > created_at),
    fetched_at    INTEGER,
    acked_at      INTEGER
) STRICT, WITHOUT ROWID;

-- What a workspace has still to take, oldest first; and, without visiting the table, how many
-- files and bytes that is, which each publish asks for its quota.
CREATE INDEX pending_uploads_waiting
    ON pending_uploads (workspace_id, created_at, file_id, size_bytes, expires_at, acked_at)
    WHERE acked_at IS NULL;

-- The sweep takes acked files in the order of their acks; their bytes are counted here…
CREATE INDEX pending_uploads_acked ON pending_uploads (acked_at, size_bytes)
    WHERE acked_at IS NOT NULL;

-- …or takes them in the order of their end, when that comes first…
CREATE INDEX pending_uploads_acked_expires ON pending_uploads (expires_at)
    WHERE acked_at IS NOT NULL;

-- …and the others in the order of their end. The first that has not expired has waited longest.
CREATE INDEX pending_uploads_expires ON pending_uploads (expires_at, created_at, size_bytes, acked_at)
    WHERE acked_at IS NULL;

-- The bytes of small files. A table of its own, so that nothing but a read touches them.
CREATE TABLE pending_upload_bytes (
    file_id BLOB NOT NULL PRIMARY KEY,
    data    BLOB NOT NULL
) STRICT;
