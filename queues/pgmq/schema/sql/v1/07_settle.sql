-- The array shapes lock their rows in the order of the ids: two that overlap
-- in opposite orders would deadlock.
CREATE FUNCTION pgmq.delete(queue_name text, msg_ids bigint[]) RETURNS SETOF bigint
LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE format($sql$
        WITH locked AS MATERIALIZED (
            SELECT m.msg_id FROM pgmq.%1$I m WHERE m.msg_id = ANY ($1) ORDER BY m.msg_id FOR UPDATE
        ), gone AS (
            DELETE FROM pgmq.%1$I m USING locked WHERE m.msg_id = locked.msg_id RETURNING m.msg_id
        )
        SELECT g.msg_id FROM gone g ORDER BY g.msg_id
    $sql$, pgmq.format_table_name(queue_name, 'q')) USING msg_ids;
END
$$;

CREATE FUNCTION pgmq.delete(queue_name text, msg_id bigint) RETURNS boolean
LANGUAGE sql AS $$ SELECT EXISTS (SELECT FROM pgmq.delete(queue_name, ARRAY[msg_id])) $$;

CREATE FUNCTION pgmq.archive(queue_name text, msg_ids bigint[]) RETURNS SETOF bigint
LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE format($sql$
        WITH locked AS MATERIALIZED (
            SELECT m.msg_id FROM pgmq.%1$I m WHERE m.msg_id = ANY ($1) ORDER BY m.msg_id FOR UPDATE
        ), gone AS (
            DELETE FROM pgmq.%1$I m
            USING locked
            WHERE m.msg_id = locked.msg_id
            RETURNING m.msg_id, m.read_ct, m.enqueued_at, m.last_read_at, m.vt, m.message, m.headers
        ), kept AS (
            INSERT INTO pgmq.%2$I (msg_id, read_ct, enqueued_at, last_read_at, vt, message, headers)
            SELECT g.msg_id, g.read_ct, g.enqueued_at, g.last_read_at, g.vt, g.message, g.headers
            FROM gone g
            RETURNING msg_id
        )
        SELECT k.msg_id FROM kept k ORDER BY k.msg_id
    $sql$, pgmq.format_table_name(queue_name, 'q'), pgmq.format_table_name(queue_name, 'a')) USING msg_ids;
END
$$;

CREATE FUNCTION pgmq.archive(queue_name text, msg_id bigint) RETURNS boolean
LANGUAGE sql AS $$ SELECT EXISTS (SELECT FROM pgmq.archive(queue_name, ARRAY[msg_id])) $$;
