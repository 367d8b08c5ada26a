CREATE FUNCTION pgmq.metrics(queue_name text) RETURNS pgmq.metrics_result
LANGUAGE plpgsql AS $$
DECLARE
    qtable text := pgmq.format_table_name(queue_name, 'q');
    result pgmq.metrics_result;
BEGIN
    EXECUTE format($sql$
        SELECT $2,
               q.length,
               extract(epoch FROM $1 - q.newest)::integer,
               extract(epoch FROM $1 - q.oldest)::integer,
               CASE WHEN s.is_called THEN s.last_value ELSE 0 END,
               $1,
               q.visible
        FROM (
            SELECT count(*)                         AS length,
                   max(m.enqueued_at)               AS newest,
                   min(m.enqueued_at)               AS oldest,
                   count(*) FILTER (WHERE m.vt <= $1) AS visible
            FROM pgmq.%1$I m
        ) q, pgmq.%2$I s
    $sql$, qtable, qtable || '_msg_id_seq')
    INTO result USING clock_timestamp(), queue_name;
    RETURN result;
END
$$;

CREATE FUNCTION pgmq.metrics_all() RETURNS SETOF pgmq.metrics_result
LANGUAGE sql AS $$
    SELECT r.* FROM pgmq.meta m CROSS JOIN LATERAL pgmq.metrics(m.queue_name) r ORDER BY m.queue_name
$$;
