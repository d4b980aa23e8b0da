-- The way back from V5: chunks of more than 2 kB go out of their rows again; those that are stored
-- stay where they are.

ALTER TABLE pending_upload_chunks RESET (toast_tuple_target);
