CREATE FUNCTION pgmq.drop_queue(queue_name text) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pgmq._lock_queue(queue_name);
    DELETE FROM pgmq.meta m WHERE lower(m.queue_name) = lower(drop_queue.queue_name);
    IF NOT FOUND THEN
        RAISE NOTICE 'pgmq queue "%" does not exist', queue_name;
        RETURN false;
    END IF;
    EXECUTE format('DROP TABLE IF EXISTS pgmq.%I', pgmq.format_table_name(queue_name, 'q'));
    EXECUTE format('DROP TABLE IF EXISTS pgmq.%I', pgmq.format_table_name(queue_name, 'a'));
    RETURN true;
END
$$;

CREATE FUNCTION pgmq.drop_queue(queue_name text, partitioned boolean) RETURNS boolean
LANGUAGE sql AS $$ SELECT pgmq.drop_queue(queue_name) $$;

CREATE FUNCTION pgmq.purge_queue(queue_name text) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    qtable text := pgmq.format_table_name(queue_name, 'q');
    purged bigint;
BEGIN
    -- The lock comes first, or the count would miss what is sent meanwhile.
    EXECUTE format('LOCK TABLE pgmq.%I IN ACCESS EXCLUSIVE MODE', qtable);
    EXECUTE format('SELECT count(*) FROM pgmq.%I', qtable) INTO purged;
    EXECUTE format('TRUNCATE pgmq.%I', qtable);
    RETURN purged;
END
$$;

-- Kept for clients that call it; an archive belongs to no extension here.
CREATE FUNCTION pgmq.detach_archive(queue_name text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE 'detach_archive does nothing: archive tables belong to no extension';
END
$$;
