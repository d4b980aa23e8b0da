-- The way back from V2: forgets every waiting file. The feeds' rows that announced them stay.

DROP TABLE staged_batches;
DROP TABLE pending_upload_chunks;
DROP TABLE pending_uploads;
