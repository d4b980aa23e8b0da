-- What a publish and a look at a token need not ask the tables for any more.

-- How many files, and bytes of files, wait for the workspace at the most. A publish adds to them,
-- under the lock that it holds anyway; acks and expiries leave them. When a publish would pass the
-- quota by them, it counts what really waits and sets them right, so that a count is made once in
-- thousands of publishes and not in each.
ALTER TABLE feed_counters
    ADD COLUMN waiting_files bigint NOT NULL DEFAULT 0 CHECK (waiting_files >= 0),
    ADD COLUMN waiting_bytes bigint NOT NULL DEFAULT 0 CHECK (waiting_bytes >= 0);

UPDATE feed_counters AS counter
SET waiting_files = waiting.files, waiting_bytes = waiting.bytes
FROM (
    SELECT workspace_id, count(*) AS files, sum(size_bytes)::bigint AS bytes
    FROM pending_uploads WHERE acked_at IS NULL GROUP BY workspace_id
) AS waiting
WHERE waiting.workspace_id = counter.workspace_id;

-- How many bursts of bytes a batch has stored. They are committed without waiting for the disk; a
-- crash that forgets some is found out by their number.
ALTER TABLE staged_batches ADD COLUMN bursts bigint NOT NULL DEFAULT 0;

-- Servers keep what they know of a workspace for some seconds. Whoever changes or deletes one, a
-- person at the database's own prompt included, tells them so at once.
CREATE FUNCTION tell_of_changed_workspace() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('pending_uploads_workspaces', OLD.id::text);
    RETURN NULL;
END
$$;

CREATE TRIGGER workspaces_changed AFTER UPDATE OR DELETE ON workspaces
    FOR EACH ROW EXECUTE FUNCTION tell_of_changed_workspace();
