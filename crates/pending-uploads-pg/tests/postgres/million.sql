-- A database with a million waiting files, and a million rows in its feeds, as of 2026-01-01.
--
-- 20,000 workspaces. The first has a tenth of the files, and half of all feed rows: those are of a
-- type and a source that no inbox asks for. A twentieth more files are acked and not swept yet, and
-- ten minutes' worth have expired. 1,000 batches are on their way in, and 100 more were left behind.
--
-- Not logged, and its indexes are made at the end: it is thrown away.

ALTER TABLE activity SET UNLOGGED;
ALTER TABLE pending_uploads SET UNLOGGED;
ALTER TABLE pending_upload_chunks SET UNLOGGED;
SET maintenance_work_mem = '256MB';

CREATE FUNCTION workspace_number(n bigint) RETURNS uuid LANGUAGE sql STABLE AS
    $$ SELECT md5('workspace ' || n)::uuid $$;
CREATE FUNCTION id_at(t timestamptz, n bigint) RETURNS uuid LANGUAGE sql STABLE AS
    $$ SELECT (lpad(to_hex((extract(epoch FROM t) * 1000)::bigint), 12, '0') || '70008000'
        || lpad(to_hex(n), 12, '0'))::uuid $$;

CREATE TEMP TABLE dropped AS
    SELECT indexrelid::regclass AS name, pg_get_indexdef(indexrelid) AS made_by FROM pg_index
    WHERE NOT indisprimary AND indrelid IN ('activity'::regclass, 'pending_uploads'::regclass);
DO $$ DECLARE index record; BEGIN
    FOR index IN SELECT * FROM dropped LOOP EXECUTE 'DROP INDEX ' || index.name; END LOOP;
END $$;

INSERT INTO workspaces (id, delivery_mode, inbound_secret, token_sha256, created_at, updated_at)
    SELECT workspace_number(n), 'poll', 'secret', sha256('token'), '2025-11-01', '2025-11-01'
    FROM generate_series(0, 19999) AS n;
INSERT INTO feed_counters (workspace_id, last_seq)
    SELECT workspace_number(n), CASE n WHEN 0 THEN 500000 ELSE 25 END
    FROM generate_series(0, 19999) AS n;

INSERT INTO pending_uploads (file_id, workspace_id, filename, original_name, mimetype, size_bytes,
        chunk_bytes, sha256, created_at, expires_at, acked_at)
    SELECT id_at(t, n), workspace_number(CASE WHEN n % 10 = 0 THEN 0 ELSE 1 + n % 19999 END),
        'report.pdf', 'report.pdf', 'application/pdf', 10, 65536, sha256('bytes'), t,
        t + interval '24 hours', CASE WHEN n % 21 = 20 THEN t + interval '1 minute' END
    FROM (SELECT n, timestamptz '2026-01-01Z' - n * interval '0.083 s' AS t
        FROM generate_series(1050000, 1, -1) AS n) AS file;
INSERT INTO pending_upload_chunks SELECT file_id, 0, '0123456789' FROM pending_uploads;

INSERT INTO activity (workspace_id, seq, id, activity_type, source_id, method, summary,
        request_body, status, created_at)
    SELECT workspace_number(0), n, id_at(t, n), 'task_update', workspace_number(1), 'tasks/update',
        'a task went on', '{"state":"working"}', 'ok', t
    FROM (SELECT n, timestamptz '2026-01-01Z' - (500000 - n) * interval '7 s' AS t
        FROM generate_series(1, 500000) AS n) AS row;
INSERT INTO activity (workspace_id, seq, id, activity_type, target_id, method, summary,
        request_body, status, created_at)
    SELECT workspace_number(w), n, id_at(t, 1000000 + n * 20000 + w), 'a2a_receive', workspace_number(w),
        'chat_upload_receive', 'chat_upload_receive: report.pdf', '{"name":"report.pdf"}', 'ok', t
    FROM (SELECT w, n, timestamptz '2026-01-01Z' - (25 - n) * interval '36 hours'
            - w * interval '1 s' AS t
        FROM generate_series(1, 25) AS n, generate_series(1, 19999) AS w) AS row;

INSERT INTO staged_batches (batch_id, workspace_id, file_ids, touched_at)
    SELECT id_at(t, n), workspace_number(n), ARRAY[id_at(t, n + 10000)], t
    FROM (SELECT n, timestamptz '2026-01-01Z' - n * interval '2 s'
            - CASE WHEN n > 1000 THEN interval '2 hours' ELSE interval '0' END AS t
        FROM generate_series(1, 1100) AS n) AS batch;

DO $$ DECLARE index record; BEGIN
    FOR index IN SELECT * FROM dropped LOOP EXECUTE index.made_by; END LOOP;
END $$;
