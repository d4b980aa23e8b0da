-- A chunk of up to 8,000 bytes, as large files are cut into, stays in its row, which fills a page.
-- Longer ones go out of it as before; what is stored already stays where it is.

-- The most that the server takes: how long a row may be before its bytes go out of it.
ALTER TABLE pending_upload_chunks SET (toast_tuple_target = 8160);
