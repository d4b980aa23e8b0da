-- The way back from V4: not while there is a bundle, because nothing before knows where its files
-- lie; they are gone when all that was uploaded has expired. To be run in one transaction, which ends
-- with the first error.

CREATE TEMP TABLE no_bundle_is_left (bundles INTEGER CHECK (bundles = 0));
INSERT INTO no_bundle_is_left SELECT count(*) FROM bundles;
DROP TABLE no_bundle_is_left;

ALTER TABLE pending_uploads DROP COLUMN bundle_offset;
ALTER TABLE pending_uploads DROP COLUMN bundle_id;
DROP TABLE bundles;
