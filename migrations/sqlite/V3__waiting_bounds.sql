-- How many files, and bytes of files, wait for the workspace at the most. A publish adds to them;
-- acks and expiries leave them. When a publish would pass the quota by them, it counts what really
-- waits and sets them right: once in as many publishes as there is room left, and not in each.
ALTER TABLE feed_counters
    ADD COLUMN waiting_files INTEGER NOT NULL DEFAULT 0 CHECK (waiting_files >= 0);
ALTER TABLE feed_counters
    ADD COLUMN waiting_bytes INTEGER NOT NULL DEFAULT 0 CHECK (waiting_bytes >= 0);

UPDATE feed_counters AS counter
SET waiting_files = waiting.files, waiting_bytes = waiting.bytes
FROM (
    SELECT workspace_id, count(*) AS files, sum(size_bytes) AS bytes
    FROM pending_uploads WHERE acked_at IS NULL GROUP BY workspace_id
) AS waiting
WHERE waiting.workspace_id = counter.workspace_id;
