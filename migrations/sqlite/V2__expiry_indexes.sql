-- Files that wait and files that were acked have an index of their ends each: the sweep of either
-- passes over none of the other. What the gauges count is in the indexes, too.

DROP INDEX pending_uploads_acked;
DROP INDEX pending_uploads_expires;

-- The sweep takes acked files in the order of their acks; their bytes are counted here…
CREATE INDEX pending_uploads_acked ON pending_uploads (acked_at, size_bytes)
    WHERE acked_at IS NOT NULL;

-- …or takes them in the order of their end, when that comes first…
CREATE INDEX pending_uploads_acked_expires ON pending_uploads (expires_at)
    WHERE acked_at IS NOT NULL;

-- …and the others in the order of their end. The first that has not expired has waited longest.
CREATE INDEX pending_uploads_expires ON pending_uploads (expires_at, created_at, size_bytes, acked_at)
    WHERE acked_at IS NULL;
