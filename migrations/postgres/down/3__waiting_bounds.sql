-- The way back from V3: servers of before count what waits in each publish.

DROP TRIGGER workspaces_changed ON workspaces;
DROP FUNCTION tell_of_changed_workspace();
ALTER TABLE staged_batches DROP COLUMN bursts;
ALTER TABLE feed_counters DROP COLUMN waiting_files, DROP COLUMN waiting_bytes;
