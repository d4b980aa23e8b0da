-- Files that wait for workspaces, and their bytes.

-- One narrow row for each published file. Nothing here but the sweep ever touches its bytes.
CREATE TABLE pending_uploads (
    file_id       uuid        PRIMARY KEY,
    workspace_id  uuid        NOT NULL,
    filename      text        NOT NULL CHECK (octet_length(filename) BETWEEN 1 AND 100),
    original_name text        NOT NULL CHECK (octet_length(original_name) <= 255),
    mimetype      text        NOT NULL,
    size_bytes    bigint      NOT NULL CHECK (size_bytes > 0),
    -- The size of each of its chunks but the last: where in the chunks an offset is to be found.
    chunk_bytes   integer     NOT NULL CHECK (chunk_bytes > 0),
    sha256        bytea       NOT NULL CHECK (octet_length(sha256) = 32),
    created_at    timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL CHECK (expires_at > created_at),
    fetched_at    timestamptz,
    acked_at      timestamptz
) WITH (
    -- Room for the update that stamps fetched_at to stay in its page.
    fillfactor = 85,
    -- Rows live a day at most, so dead ones are a large part of the table; clean up early.
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.05
);

-- What a workspace has still to take, oldest first; and, without visiting the table, how many
-- files and bytes that is, which each publish asks for its quota.
CREATE INDEX pending_uploads_waiting ON pending_uploads (workspace_id, created_at, file_id)
    INCLUDE (size_bytes, expires_at) WHERE acked_at IS NULL;

-- The sweep takes acked files in the order of their acks…
CREATE INDEX pending_uploads_acked ON pending_uploads (acked_at) WHERE acked_at IS NOT NULL;

-- …or of their end, when that comes first…
CREATE INDEX pending_uploads_acked_expires ON pending_uploads (expires_at)
    WHERE acked_at IS NOT NULL;

-- …and the others in the order of their end. The first that has not expired has waited longest.
CREATE INDEX pending_uploads_expires ON pending_uploads (expires_at) WHERE acked_at IS NULL;

-- The bytes: a file's chunks, numbered from 0. There is no foreign key: chunks are staged before
-- their file's row exists, and are deleted in the transaction that deletes it.
CREATE TABLE pending_upload_chunks (
    file_id uuid    NOT NULL,
    seq     integer NOT NULL CHECK (seq >= 0),
    data    bytea   NOT NULL,
    -- A download reads a run of a file's chunks; the sweep deletes them.
    PRIMARY KEY (file_id, seq)
) WITH (
    autovacuum_vacuum_scale_factor = 0.02,
    toast.autovacuum_vacuum_scale_factor = 0.02
);

-- Out of the row and not compressed: what people upload is compressed already, and trying costs
-- most of the time that storing takes.
ALTER TABLE pending_upload_chunks ALTER COLUMN data SET STORAGE EXTERNAL;

-- One row for each batch that has bytes in the store and is not published: how the sweeper finds
-- what never will be. publish deletes it.
CREATE TABLE staged_batches (
    batch_id     uuid        PRIMARY KEY,
    workspace_id uuid        NOT NULL,
    file_ids     uuid[]      NOT NULL,
    -- When the batch last stored bytes: its lease is counted from here.
    touched_at   timestamptz NOT NULL,
    -- Set by a sweep that found the lease over; from then on the batch can neither grow nor publish.
    abandoned_at timestamptz
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
