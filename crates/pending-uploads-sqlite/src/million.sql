-- A database with :files waiting files, and as many rows in its feeds, as of 2026-01-01, whose
-- microseconds are 1767225600000000. It is made anew for each test or bench, and thrown away.
--
-- 5,000 workspaces. The first has a tenth of the files, and half of all feed rows: those are of a
-- type and a source that no inbox asks for. A twentieth more files are acked and not swept yet, and
-- ten minutes' worth have expired.

INSERT INTO workspaces (id, delivery_mode, inbound_secret, token_sha256, created_at, updated_at)
    WITH RECURSIVE w (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM w WHERE n < 4999)
    SELECT unhex(printf('%032x', n)), 'poll', 'secret', zeroblob(32), 0, 0 FROM w;
INSERT INTO feed_counters (workspace_id, last_seq)
    WITH RECURSIVE w (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM w WHERE n < 4999)
    SELECT unhex(printf('%032x', n)),
        CASE n WHEN 0 THEN :files / 2 ELSE (:files / 2 + 4999 - n) / 4999 END FROM w;

INSERT INTO pending_uploads (file_id, workspace_id, filename, original_name, mimetype, size_bytes,
        sha256, placement, created_at, expires_at, acked_at)
    WITH RECURSIVE file (n) AS (SELECT :files + :files / 20 UNION ALL SELECT n - 1 FROM file WHERE n > 1),
    timed AS (SELECT n, 1767225600000000 - n * (83000000000 / :files) AS t FROM file)
    SELECT unhex(printf('%012x70008000%012x', t / 1000, n)),
        unhex(printf('%032x', CASE WHEN n % 10 = 0 THEN 0 ELSE 1 + n % 4999 END)),
        'report.pdf', 'report.pdf', 'application/pdf', 10, zeroblob(32), 'row', t,
        t + 86400000000, CASE WHEN n % 21 = 20 THEN t + 60000000 END FROM timed;
INSERT INTO pending_upload_bytes (file_id, data)
    SELECT file_id, x'30313233343536373839' FROM pending_uploads ORDER BY file_id;

INSERT INTO activity (id, workspace_id, seq, activity_type, source_id, method, summary,
        request_body, status, created_at)
    WITH RECURSIVE row (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM row WHERE n < :files / 2),
    timed AS (SELECT n, 1767225600000000 - (:files / 2 - n) * (3500000000000 / (:files / 2)) AS t FROM row)
    SELECT unhex(printf('%012x70008000%012x', t / 1000, n)), zeroblob(16), n, 'task_update',
        unhex(printf('%032x', 1)), 'tasks/update', 'a task went on', '{"state":"working"}', 'ok', t
    FROM timed;
INSERT INTO activity (id, workspace_id, seq, activity_type, target_id, method, summary,
        request_body, status, created_at)
    WITH RECURSIVE row (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM row WHERE n < :files / 2 - 1),
    timed AS (SELECT n, 1 + n % 4999 AS w,
        1767225600000000 - (:files / 2 - n) * (3500000000000 / (:files / 2)) AS t FROM row)
    SELECT unhex(printf('%012x70009000%012x', t / 1000, n)), unhex(printf('%032x', w)), 1 + n / 4999,
        'a2a_receive', unhex(printf('%032x', w)), 'chat_upload_receive',
        'chat_upload_receive: report.pdf', '{"name":"report.pdf"}', 'ok', t
    FROM timed;
