-- The way back from V1: forgets everything.

DROP TABLE pending_upload_bytes;
DROP TABLE pending_uploads;
DROP TABLE activity;
DROP TABLE feed_counters;
DROP TABLE workspaces;
