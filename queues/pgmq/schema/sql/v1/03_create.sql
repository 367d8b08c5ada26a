CREATE FUNCTION pgmq._create_queue(queue_name text, is_unlogged boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    qtable text := pgmq.format_table_name(queue_name, 'q');
    atable text := pgmq.format_table_name(queue_name, 'a');
BEGIN
    PERFORM pgmq.validate_queue_name(queue_name);
    PERFORM pgmq._lock_queue(queue_name);
    IF EXISTS (SELECT FROM pgmq.meta m WHERE lower(m.queue_name) = lower(_create_queue.queue_name)) THEN
        RETURN;
    END IF;

    -- A queue is small and churns, an archive is large and grows: the default
    -- autovacuum settings would let dead rows pile up in front of every read.
    -- They are those that `stephost queue tune` gives to other queues.
    EXECUTE format($sql$
        CREATE %s TABLE pgmq.%I (
            msg_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            read_ct      integer     NOT NULL DEFAULT 0,
            enqueued_at  timestamptz NOT NULL DEFAULT now(),
            last_read_at timestamptz,
            vt           timestamptz NOT NULL,
            message      jsonb,
            headers      jsonb
        ) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 100, autovacuum_vacuum_cost_delay = 0,
            toast.autovacuum_vacuum_scale_factor = 0.01, toast.autovacuum_vacuum_threshold = 100, toast.autovacuum_vacuum_cost_delay = 0)
    $sql$, CASE WHEN is_unlogged THEN 'UNLOGGED' ELSE '' END, qtable);
    EXECUTE format('CREATE INDEX %I ON pgmq.%I (vt)', qtable || '_vt_idx', qtable);

    EXECUTE format($sql$
        CREATE TABLE pgmq.%I (
            msg_id       bigint PRIMARY KEY,
            read_ct      integer     NOT NULL DEFAULT 0,
            enqueued_at  timestamptz NOT NULL DEFAULT now(),
            last_read_at timestamptz,
            archived_at  timestamptz NOT NULL DEFAULT now(),
            vt           timestamptz NOT NULL,
            message      jsonb,
            headers      jsonb
        ) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02,
            toast.autovacuum_vacuum_scale_factor = 0.02, toast.autovacuum_vacuum_insert_scale_factor = 0.02)
    $sql$, atable);
    EXECUTE format('CREATE INDEX %I ON pgmq.%I (archived_at)', 'archived_at_idx_' || lower(queue_name), atable);

    EXECUTE format('GRANT SELECT ON pgmq.%I, pgmq.%I TO pg_monitor', qtable, atable);
    EXECUTE format('GRANT SELECT ON SEQUENCE pgmq.%I TO pg_monitor', qtable || '_msg_id_seq');

    INSERT INTO pgmq.meta (queue_name, is_partitioned, is_unlogged)
    VALUES (_create_queue.queue_name, false, _create_queue.is_unlogged);

    PERFORM pgmq.enable_notify_insert(queue_name, pgmq._default_throttle_ms());
END
$$;

CREATE FUNCTION pgmq.create_non_partitioned(queue_name text) RETURNS void
LANGUAGE sql AS $$ SELECT pgmq._create_queue(queue_name, false) $$;

CREATE FUNCTION pgmq.create_unlogged(queue_name text) RETURNS void
LANGUAGE sql AS $$ SELECT pgmq._create_queue(queue_name, true) $$;

CREATE FUNCTION pgmq.create(queue_name text) RETURNS void
LANGUAGE sql AS $$ SELECT pgmq._create_queue(queue_name, false) $$;

CREATE FUNCTION pgmq.create_partitioned(
    queue_name         text,
    partition_interval text DEFAULT '10000',
    retention_interval text DEFAULT '100000',
    premake            integer DEFAULT 4
) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'pg_partman is required for partitioned queues, and this schema does not support it'
        USING ERRCODE = 'feature_not_supported', HINT = 'Use pgmq.create.';
END
$$;
