-- Workspaces, and the feed that each of them reads.

CREATE TABLE workspaces (
    id             uuid PRIMARY KEY,
    delivery_mode  text        NOT NULL CHECK (delivery_mode IN ('push', 'poll')),
    callback_url   text,
    -- Sent with each call to a push workspace, and so kept in clear.
    inbound_secret text        NOT NULL,
    -- The digest of the bearer token; the token itself is stored nowhere.
    token_sha256   bytea       NOT NULL CHECK (octet_length(token_sha256) = 32),
    agent_card     json,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL
);

-- One row for each workspace: the number of the newest row in its feed. Every writer of a feed
-- takes this row's lock last and keeps it until its commit, so that numbers follow commit order
-- and have no gap. A table of its own, so that a busy feed does not bloat or lock the workspace's
-- row; half-empty pages, so that each update stays in its page and touches no index.
CREATE TABLE feed_counters (
    workspace_id uuid   PRIMARY KEY REFERENCES workspaces (id) ON DELETE CASCADE,
    last_seq     bigint NOT NULL DEFAULT 0 CHECK (last_seq >= 0)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

-- The feeds. There is no foreign key to workspaces: the counter, which every writer has locked,
-- has one, and a second check would lock the workspace's row once more for each row here.
-- The bodies are json, not jsonb: they are handed on as they came, and jsonb refuses \u0000.
CREATE TABLE activity (
    workspace_id  uuid        NOT NULL,
    seq           bigint      NOT NULL,
    id            uuid        NOT NULL,
    activity_type text        NOT NULL,
    source_id     uuid,
    target_id     uuid,
    method        text,
    summary       text,
    request_body  json,
    response_body json,
    duration_ms   bigint,
    status        text        NOT NULL CHECK (status IN ('ok', 'error')),
    error_detail  text,
    created_at    timestamptz NOT NULL,
    -- A poll reads a workspace's rows after a number, or from the newest back.
    PRIMARY KEY (workspace_id, seq)
);

-- Not compressed, so that how large a body is can be told without reading it: a page ends before
-- its bodies are too many bytes.
ALTER TABLE activity ALTER COLUMN request_body SET STORAGE EXTERNAL;
ALTER TABLE activity ALTER COLUMN response_body SET STORAGE EXTERNAL;

-- A poll's cursor is a row's id: this finds its number.
CREATE UNIQUE INDEX activity_id ON activity (id);

-- Pruning walks the feeds from their oldest row.
CREATE INDEX activity_created_at ON activity (created_at, id);
