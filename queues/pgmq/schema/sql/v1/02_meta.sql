CREATE TABLE pgmq.meta (
    queue_name     varchar     NOT NULL UNIQUE,
    is_partitioned boolean     NOT NULL,
    is_unlogged    boolean     NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now()
);

-- Names that differ in case alone share their tables, so they are one queue.
CREATE UNIQUE INDEX meta_lower_queue_name_idx ON pgmq.meta (lower(queue_name));

-- Logged, unlike pgmq's own: after a crash the notifications go on. The free
-- space in each page keeps the updates of last_notified_at off the index.
CREATE TABLE pgmq.notify_insert_throttle (
    queue_name           varchar     NOT NULL UNIQUE
        REFERENCES pgmq.meta (queue_name) ON DELETE CASCADE,
    throttle_interval_ms integer     NOT NULL DEFAULT 0 CHECK (throttle_interval_ms >= 0),
    last_notified_at     timestamptz NOT NULL DEFAULT to_timestamp(0)
) WITH (fillfactor = 50);

-- The longest name keeps archived_at_idx_<name> within 63 bytes.
CREATE FUNCTION pgmq.validate_queue_name(queue_name text) RETURNS void
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF coalesce(queue_name, '') = '' THEN
        RAISE EXCEPTION 'queue name must not be empty' USING ERRCODE = 'invalid_name';
    END IF;
    IF octet_length(queue_name) > 47 THEN
        RAISE EXCEPTION 'queue name is too long, maximum length is 47 characters' USING ERRCODE = 'invalid_name';
    END IF;
END
$$;

CREATE FUNCTION pgmq.format_table_name(queue_name text, prefix text) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF queue_name ~ '[$;''"]|--' THEN
        RAISE EXCEPTION 'queue name contains invalid characters: %', queue_name USING ERRCODE = 'invalid_name';
    END IF;
    RETURN lower(prefix || '_' || queue_name);
END
$$;

-- Serialises what makes, changes and drops one queue.
CREATE FUNCTION pgmq._lock_queue(queue_name text) RETURNS void
LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(hashtext('pgmq.queue_' || lower(queue_name)))
$$;

CREATE FUNCTION pgmq.list_queues() RETURNS SETOF pgmq.queue_record
LANGUAGE sql STABLE AS $$
    SELECT m.queue_name, m.is_partitioned, m.is_unlogged, m.created_at
    FROM pgmq.meta m
    ORDER BY m.queue_name
$$;
