CREATE FUNCTION pgmq.set_vt(queue_name text, msg_ids bigint[], vt timestamptz) RETURNS SETOF pgmq.message_record
LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE format($sql$
        WITH locked AS MATERIALIZED (
            SELECT m.msg_id FROM pgmq.%1$I m WHERE m.msg_id = ANY ($1) ORDER BY m.msg_id FOR UPDATE
        ), changed AS (
            UPDATE pgmq.%1$I m
            SET vt = $2
            FROM locked
            WHERE m.msg_id = locked.msg_id
            RETURNING m.msg_id, m.read_ct, m.enqueued_at, m.last_read_at, m.vt, m.message, m.headers
        )
        SELECT c.msg_id, c.read_ct, c.enqueued_at, c.last_read_at, c.vt, c.message, c.headers
        FROM changed c
        ORDER BY c.msg_id
    $sql$, pgmq.format_table_name(queue_name, 'q')) USING msg_ids, vt;
END
$$;

CREATE FUNCTION pgmq.set_vt(queue_name text, msg_ids bigint[], vt integer) RETURNS SETOF pgmq.message_record
LANGUAGE sql AS $$
    SELECT s.* FROM pgmq.set_vt(queue_name, msg_ids, clock_timestamp() + make_interval(secs => vt)) s
$$;

CREATE FUNCTION pgmq.set_vt(queue_name text, msg_id bigint, vt timestamptz) RETURNS SETOF pgmq.message_record
LANGUAGE sql AS $$ SELECT s.* FROM pgmq.set_vt(queue_name, ARRAY[msg_id], vt) s $$;

CREATE FUNCTION pgmq.set_vt(queue_name text, msg_id bigint, vt integer) RETURNS SETOF pgmq.message_record
LANGUAGE sql AS $$
    SELECT s.* FROM pgmq.set_vt(queue_name, ARRAY[msg_id], clock_timestamp() + make_interval(secs => vt)) s
$$;
