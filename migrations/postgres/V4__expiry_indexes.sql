-- Files that wait and files that were acked have an index of their ends each: the sweep of either
-- passes over none of the other, and the first of those that wait has waited longest.

DROP INDEX pending_uploads_expires;

-- The sweep takes files that wait in the order of their end…
CREATE INDEX pending_uploads_expires ON pending_uploads (expires_at) WHERE acked_at IS NULL;

-- …and acked ones in the order of theirs, when that comes before the end of their retention.
CREATE INDEX pending_uploads_acked_expires ON pending_uploads (expires_at)
    WHERE acked_at IS NOT NULL;
