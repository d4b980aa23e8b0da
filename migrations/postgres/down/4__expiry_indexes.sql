-- The way back from V4: one index of all ends.

DROP INDEX pending_uploads_expires;
DROP INDEX pending_uploads_acked_expires;
CREATE INDEX pending_uploads_expires ON pending_uploads (expires_at);
