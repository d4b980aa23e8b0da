-- A database with as many waiting files as the setting fill.files says, and as many rows in its
-- feeds, as of 2026-01-01. A million of them make 20,000 workspaces.
--
-- The first workspace has a tenth of the files, and half of all feed rows: those are of a
-- type and a source that no inbox asks for. A twentieth more files are acked and not swept yet, and
-- ten minutes' worth have expired. 1,000 batches are on their way in, and 100 more were left behind.
--
-- Its indexes are made at the end.

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

CREATE FUNCTION files() RETURNS int LANGUAGE sql STABLE AS
    $$ SELECT current_setting('fill.files')::int $$;
-- Beside the first.
CREATE FUNCTION workspaces() RETURNS int LANGUAGE sql STABLE AS
    $$ SELECT greatest(9, files() / 50 - 1) $$;

INSERT INTO workspaces (id, delivery_mode, inbound_secret, token_sha256, created_at, updated_at)
    SELECT workspace_number(n), 'poll', 'secret', sha256('token'), '2025-11-01', '2025-11-01'
    FROM generate_series(0, workspaces()) AS n;
INSERT INTO feed_counters (workspace_id, last_seq)
    SELECT workspace_number(n), CASE n WHEN 0 THEN files() / 2
        ELSE (files() / 2 + workspaces() - n) / workspaces() END
    FROM generate_series(0, workspaces()) AS n;

INSERT INTO pending_uploads (file_id, workspace_id, filename, original_name, mimetype, size_bytes,
        chunk_bytes, sha256, created_at, expires_at, acked_at)
    SELECT id_at(t, n), workspace_number(CASE WHEN n % 10 = 0 THEN 0 ELSE 1 + n % workspaces() END),
        'report.pdf', 'report.pdf', 'application/pdf', 10, 65536, sha256('bytes'), t,
        t + interval '24 hours', CASE WHEN n % 21 = 20 THEN t + interval '1 minute' END
    FROM (SELECT n, timestamptz '2026-01-01Z' - n * (interval '83000 s' / files()) AS t
        FROM generate_series(files() / 20 * 21, 1, -1) AS n) AS file;
INSERT INTO pending_upload_chunks SELECT file_id, 0, '0123456789' FROM pending_uploads;

INSERT INTO activity (workspace_id, seq, id, activity_type, source_id, method, summary,
        request_body, status, created_at)
    SELECT workspace_number(0), n, id_at(t, n), 'task_update', workspace_number(1), 'tasks/update',
        'a task went on', '{"state":"working"}', 'ok', t
    FROM (SELECT n, timestamptz '2026-01-01Z'
            - (files() / 2 - n) * (interval '3500000 s' / (files() / 2)) AS t
        FROM generate_series(1, files() / 2) AS n) AS row;
INSERT INTO activity (workspace_id, seq, id, activity_type, target_id, method, summary,
        request_body, status, created_at)
    SELECT workspace_number(w), 1 + n / workspaces(), id_at(t, 10000000 + n), 'a2a_receive',
        workspace_number(w), 'chat_upload_receive', 'chat_upload_receive: report.pdf',
        '{"name":"report.pdf"}', 'ok', t
    FROM (SELECT n, 1 + n % workspaces() AS w, timestamptz '2026-01-01Z'
            - (files() / 2 - n) * (interval '3500000 s' / (files() / 2)) AS t
        FROM generate_series(0, files() / 2 - 1) AS n) AS row;

INSERT INTO staged_batches (batch_id, workspace_id, file_ids, touched_at)
    SELECT id_at(t, n), workspace_number(n), ARRAY[id_at(t, n + 10000)], t
    FROM (SELECT n, timestamptz '2026-01-01Z' - n * interval '2 s'
            - CASE WHEN n > 1000 THEN interval '2 hours' ELSE interval '0' END AS t
        FROM generate_series(1, 1100) AS n) AS batch;

DO $$ DECLARE index record; BEGIN
    FOR index IN SELECT * FROM dropped LOOP EXECUTE index.made_by; END LOOP;
END $$;
