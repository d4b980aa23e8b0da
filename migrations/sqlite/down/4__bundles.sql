-- The way back from V4: not while there is a bundle, because nothing before knows where its files
-- lie. They are gone 24 hours after the last upload.

CREATE TEMP TABLE no_bundle_is_left (bundles INTEGER CHECK (bundles = 0));
INSERT INTO no_bundle_is_left SELECT count(*) FROM bundles;
DROP TABLE no_bundle_is_left;

ALTER TABLE pending_uploads DROP COLUMN bundle_offset;
ALTER TABLE pending_uploads DROP COLUMN bundle_id;
DROP TABLE bundles;
