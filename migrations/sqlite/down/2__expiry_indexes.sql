-- The way back from V2.

DROP INDEX pending_uploads_acked;
DROP INDEX pending_uploads_acked_expires;
DROP INDEX pending_uploads_expires;
CREATE INDEX pending_uploads_acked ON pending_uploads (acked_at) WHERE acked_at IS NOT NULL;
CREATE INDEX pending_uploads_expires ON pending_uploads (expires_at);
