-- The way back from V3.

ALTER TABLE feed_counters DROP COLUMN waiting_bytes;
ALTER TABLE feed_counters DROP COLUMN waiting_files;
