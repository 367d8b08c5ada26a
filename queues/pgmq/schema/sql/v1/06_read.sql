-- The clock is read once and bound: a volatile function in the condition would
-- keep the planner from the index on vt and walk every delayed message instead.
CREATE FUNCTION pgmq.read(queue_name text, vt integer, qty integer, conditional jsonb DEFAULT '{}')
RETURNS SETOF pgmq.message_record
LANGUAGE plpgsql AS $$
DECLARE
    at timestamptz := clock_timestamp();
BEGIN
    RETURN QUERY EXECUTE format($sql$
        WITH picked AS MATERIALIZED (
            SELECT m.msg_id
            FROM pgmq.%1$I m
            WHERE m.vt <= $1 %2$s
            ORDER BY m.msg_id
            LIMIT $2
            FOR UPDATE SKIP LOCKED
        ), taken AS (
            UPDATE pgmq.%1$I m
            SET vt = $1 + $3, last_read_at = $1, read_ct = m.read_ct + 1
            FROM picked
            WHERE m.msg_id = picked.msg_id
            RETURNING m.msg_id, m.read_ct, m.enqueued_at, m.last_read_at, m.vt, m.message, m.headers
        )
        SELECT t.msg_id, t.read_ct, t.enqueued_at, t.last_read_at, t.vt, t.message, t.headers
        FROM taken t
        ORDER BY t.msg_id
    $sql$,
        pgmq.format_table_name(queue_name, 'q'),
        CASE WHEN conditional <> '{}' THEN 'AND m.message @> $4' ELSE '' END
    ) USING at, qty, make_interval(secs => vt), conditional;
END
$$;

-- Returns the first messages there are, or nothing when the time is over.
CREATE FUNCTION pgmq.read_with_poll(
    queue_name       text,
    vt               integer,
    qty              integer,
    max_poll_seconds integer DEFAULT 5,
    poll_interval_ms integer DEFAULT 100,
    conditional      jsonb DEFAULT '{}'
) RETURNS SETOF pgmq.message_record
LANGUAGE plpgsql AS $$
DECLARE
    deadline timestamptz := clock_timestamp() + make_interval(secs => max_poll_seconds);
BEGIN
    LOOP
        RETURN QUERY SELECT r.* FROM pgmq.read(queue_name, vt, qty, conditional) r;
        IF FOUND OR clock_timestamp() >= deadline THEN
            RETURN;
        END IF;
        PERFORM pg_sleep(greatest(poll_interval_ms, 1) / 1000.0);
    END LOOP;
END
$$;

CREATE FUNCTION pgmq.pop(queue_name text, qty integer DEFAULT 1) RETURNS SETOF pgmq.message_record
LANGUAGE plpgsql AS $$
BEGIN
    -- LIMIT NULL would delete the whole queue.
    IF qty IS NULL THEN
        RAISE EXCEPTION 'qty must not be null' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    RETURN QUERY EXECUTE format($sql$
        WITH picked AS MATERIALIZED (
            SELECT m.msg_id
            FROM pgmq.%1$I m
            WHERE m.vt <= $1
            ORDER BY m.msg_id
            LIMIT $2
            FOR UPDATE SKIP LOCKED
        ), taken AS (
            DELETE FROM pgmq.%1$I m
            USING picked
            WHERE m.msg_id = picked.msg_id
            RETURNING m.msg_id, m.read_ct, m.enqueued_at, m.last_read_at, m.vt, m.message, m.headers
        )
        SELECT t.msg_id, t.read_ct, t.enqueued_at, t.last_read_at, t.vt, t.message, t.headers
        FROM taken t
        ORDER BY t.msg_id
    $sql$, pgmq.format_table_name(queue_name, 'q'))
    USING clock_timestamp(), qty;
END
$$;
