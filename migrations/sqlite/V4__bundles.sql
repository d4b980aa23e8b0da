-- Small files that are committed together lie one after another in one file beside the database:
-- their bundle. It is named by its id, as a larger file is by its own, and is deleted with the last
-- of its files.
CREATE TABLE bundles (
    id    BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    -- How many of its files still have their record.
    files INTEGER NOT NULL CHECK (files >= 0)
) STRICT, WITHOUT ROWID;

-- A file whose placement is 'file' lies in its bundle from an offset on, in bytes, or, when it has
-- none, in a file of its own.
ALTER TABLE pending_uploads ADD COLUMN bundle_id BLOB CHECK (length(bundle_id) = 16);
ALTER TABLE pending_uploads ADD COLUMN bundle_offset INTEGER
    CHECK ((bundle_id IS NULL) = (bundle_offset IS NULL) AND coalesce(bundle_offset, 0) >= 0);
