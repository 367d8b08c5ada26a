-- The results, by the number that the host copied from the message.
CREATE TEMPORARY TABLE result ON COMMIT DROP AS
SELECT msg_id,
	CASE WHEN message->>'correlation_id' ~ '^[0-9]{1,18}$' THEN (message->>'correlation_id')::bigint END AS id,
	message->'success' = 'true' AS success
FROM (
	SELECT msg_id, message FROM pgmq.q_work_results
	UNION ALL
	SELECT msg_id, message FROM pgmq.a_work_results
) every
UNION ALL
SELECT NULL, id, success FROM chaos.removed WHERE place = 'result'
;
-- Every place where a message is, with the failures that its record counts.
CREATE TEMPORARY TABLE place ON COMMIT DROP AS
SELECT place, at,
	CASE WHEN message->>'id' ~ '^[0-9]{1,18}$' THEN (message->>'id')::bigint END AS id,
	coalesce((headers->'stephost'->>'failures')::int, 0) AS failures
FROM (
	SELECT 'queue' AS place, pg_xact_commit_timestamp(xmin) AS at, message, headers FROM pgmq.q_work_queue
	UNION ALL
	SELECT 'archive', pg_xact_commit_timestamp(xmin), message, headers FROM pgmq.a_work_queue
	UNION ALL
	SELECT 'dead', pg_xact_commit_timestamp(xmin), message, headers FROM pgmq.q_work_dead
	UNION ALL
	SELECT 'dead', pg_xact_commit_timestamp(xmin), message, headers FROM pgmq.a_work_dead
) every
UNION ALL
SELECT place, at, id, failures FROM chaos.removed WHERE place <> 'result'
;
-- What the handlers emitted, by the message that they had.
CREATE TEMPORARY TABLE emitted ON COMMIT DROP AS
SELECT CASE WHEN message->>'id' ~ '^[0-9]{1,18}$' THEN (message->>'id')::bigint END AS id
FROM (
	SELECT message FROM pgmq.q_work_emits
	UNION ALL
	SELECT message FROM pgmq.a_work_emits
) every
;
-- What is known of each message. One that was acknowledged to its sender is a
-- message also when the database has forgotten it.
CREATE TEMPORARY TABLE message ON COMMIT DROP AS
SELECT s.id, s.expected, s.emits, s.due_at,
	coalesce(m.emitted, 0) AS emitted,
	coalesce(p.queued, 0) AS queued, coalesce(p.archived, 0) AS archived, coalesce(p.dead, 0) AS dead,
	coalesce(p.failures, 0) AS failures, p.settled_at,
	coalesce(r.results, 0) AS results, coalesce(r.successes, 0) AS successes,
	coalesce(e.executions, 0) AS executions, coalesce(e.attempts, 0) AS attempts, coalesce(e.last_attempt, 0) AS last_attempt,
	coalesce(e.succeeded, 0) AS succeeded, coalesce(e.failed, 0) AS failed,
	e.first_start, e.last_start
FROM (
	SELECT coalesce(sent.id, acked.id) AS id, sent.expected, coalesce(sent.emits, false) AS emits,
		pg_xact_commit_timestamp(sent.xmin) + sent.delay AS due_at
	FROM chaos.sent FULL JOIN chaos.acked ON sent.id = acked.id
) s
LEFT JOIN (
	SELECT id,
		count(*) FILTER (WHERE place = 'queue') AS queued,
		count(*) FILTER (WHERE place = 'archive') AS archived,
		count(*) FILTER (WHERE place = 'dead') AS dead,
		max(failures) AS failures,
		min(at) FILTER (WHERE place <> 'queue') AS settled_at
	FROM place GROUP BY id
) p ON p.id = s.id
LEFT JOIN (
	SELECT id, count(*) AS results, count(*) FILTER (WHERE success) AS successes FROM result GROUP BY id
) r ON r.id = s.id
LEFT JOIN (
	SELECT id, count(*) AS executions, count(DISTINCT attempt) AS attempts, max(attempt) AS last_attempt,
		count(*) FILTER (WHERE outcome = 'ok') AS succeeded,
		-- One that was killed or told to stop has not failed; one that ignored its
		-- cancellation has, also when its process was killed for it.
		count(*) FILTER (WHERE outcome IN ('fail', 'panic', 'outlasted') OR outcome IS NULL AND deed = 'hang') AS failed,
		min(started_at) AS first_start, max(started_at) AS last_start
	FROM chaos.execution LEFT JOIN chaos.sent USING (id) GROUP BY id
) e ON e.id = s.id
LEFT JOIN (
	SELECT id, count(*) AS emitted FROM emitted GROUP BY id
) m ON m.id = s.id
;
CREATE TEMPORARY TABLE finding (kind text NOT NULL, id bigint, count bigint NOT NULL DEFAULT 1, detail text) ON COMMIT DROP
;
INSERT INTO finding (kind, id, detail)
SELECT 'lost', id, format('queued %s archived %s dead %s results %s emitted %s executions %s', queued, archived, dead, results, emitted, executions)
FROM message WHERE queued > 0 OR archived + dead = 0 OR results = 0 OR emits AND archived > 0 AND emitted = 0
;
INSERT INTO finding (kind, id, detail)
SELECT 'settled twice', id, format('queued %s archived %s dead %s results %s emitted %s', queued, archived, dead, results, emitted)
FROM message WHERE queued + archived + dead > 1 OR results > 1 OR emitted > 1
;
INSERT INTO finding (kind, id, detail)
SELECT 'stray', id, 'in ' || place FROM place WHERE id IS NULL OR NOT EXISTS (SELECT FROM message WHERE message.id = place.id)
UNION ALL
SELECT 'stray', id, 'as a result' FROM result WHERE id IS NULL OR NOT EXISTS (SELECT FROM message WHERE message.id = result.id)
UNION ALL
SELECT 'stray', id, 'emitted' FROM emitted
WHERE NOT EXISTS (SELECT FROM message WHERE message.id = emitted.id AND message.emits AND message.archived > 0)
UNION ALL
SELECT 'stray', id, 'executed' FROM chaos.execution WHERE NOT EXISTS (SELECT FROM message WHERE message.id = execution.id)
;
INSERT INTO finding (kind, id, detail)
SELECT 'contradictory', id, format('archived %s dead %s successes %s of %s', archived, dead, successes, results)
FROM message WHERE archived + dead = 1 AND results = 1 AND (archived = 1) <> (successes = 1)
;
INSERT INTO finding (kind, id, detail)
SELECT 'misjudged', id, format('expected %s, archived %s dead %s', expected, archived, dead)
FROM message WHERE (expected = 'done' AND dead > 0) OR (expected = 'dead' AND archived > 0)
;
INSERT INTO finding (kind, id, detail)
SELECT 'never ran', id, format('executions %s', executions)
FROM message WHERE archived > 0 AND succeeded = 0
;
INSERT INTO finding (kind, id, detail)
SELECT 'unearned', id, format('last attempt %s, failures %s, failed executions %s', last_attempt, failures, failed)
FROM message WHERE greatest(last_attempt - 1, failures) > failed
;
INSERT INTO finding (kind, id, count, detail)
SELECT 'executed again', id, executions - attempts, format('executions %s attempts %s', executions, attempts)
FROM message WHERE executions > attempts
;
INSERT INTO finding (kind, id, detail)
SELECT 'late', id, format('settled %s started %s', settled_at, last_start)
FROM message WHERE queued = 0 AND last_start > settled_at
