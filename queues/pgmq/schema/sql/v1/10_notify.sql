-- A statement that inserts into a queue announces it on the channel
-- pgmq.q_<name>.INSERT, with an empty payload, when its transaction commits.
-- With a throttle of some milliseconds the first one after a quiet time
-- announces at once and those that follow within the interval do not: whoever
-- listens looks again when the interval is over. Commits that announce are
-- serialised by the server, so without a throttle busy producers would be.
--
-- What no producer may ever do here is wait for another one's transaction.

-- What create gives a new queue.
CREATE FUNCTION pgmq._default_throttle_ms() RETURNS integer
LANGUAGE sql IMMUTABLE AS $$ SELECT 20 $$;

-- Decides for a session that does not know the queue to be quiet. Returns until
-- when it need not ask again, and whether to announce now. It runs with its
-- owner's rights, so that a producer needs none on the throttle table.
CREATE FUNCTION pgmq._notify_due(queue_name text, OUT quiet_until timestamptz, OUT due boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    at       timestamptz := clock_timestamp();
    throttle interval;
    last     timestamptz;
BEGIN
    SELECT make_interval(secs => t.throttle_interval_ms / 1000.0), t.last_notified_at
    INTO throttle, last
    FROM pgmq.notify_insert_throttle t
    WHERE t.queue_name = _notify_due.queue_name;
    due := true;

    -- Announce too often rather than never where there is no row, no throttle,
    -- or an isolation level in which the update below could fail the producer.
    IF throttle IS NULL OR throttle = interval '0'
        OR current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        RETURN;
    END IF;
    -- A clock that was set back must not silence the queue.
    IF at >= last AND at < last + throttle THEN
        quiet_until := last + throttle;
        due := false;
        RETURN;
    END IF;

    UPDATE pgmq.notify_insert_throttle t
    SET last_notified_at = at
    FROM (
        SELECT l.queue_name
        FROM pgmq.notify_insert_throttle l
        WHERE l.queue_name = _notify_due.queue_name AND l.last_notified_at = last
        FOR UPDATE SKIP LOCKED
    ) free
    WHERE t.queue_name = free.queue_name;
    IF NOT FOUND THEN
        -- Another transaction is about to announce. If it has been for longer
        -- than an interval, it may stay open for long: do not rely on it.
        due := at < last OR at >= last + 2 * throttle;
    END IF;
    IF due THEN
        quiet_until := at + throttle;
    END IF;
END
$$;

-- What a session learned about a queue is kept in a setting of the session,
-- which is cheaper than looking at the table. A transaction that rolls back takes
-- its setting with it. It is a number, since the text of a time depends on other
-- settings.
CREATE FUNCTION pgmq.notify_queue_listeners() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    known text := 'pgmq.quiet_' || TG_RELID;
    quiet timestamptz;
    due   boolean;
BEGIN
    IF date_part('epoch', clock_timestamp()) < nullif(current_setting(known, true), '')::float8 THEN
        RETURN NULL;
    END IF;
    SELECT n.quiet_until, n.due INTO quiet, due FROM pgmq._notify_due(TG_ARGV[0]) n;
    IF quiet IS NOT NULL THEN
        PERFORM set_config(known, date_part('epoch', quiet)::text, false);
    END IF;
    IF due THEN
        PERFORM pg_notify('pgmq.' || TG_TABLE_NAME || '.INSERT', '');
    END IF;
    RETURN NULL;
END
$$;

-- Enabling again only changes the interval: the trigger, whose creation needs
-- a lock that stops producers, is left as it is.
CREATE FUNCTION pgmq.enable_notify_insert(queue_name text, throttle_interval_ms integer DEFAULT 250) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    qtable text := pgmq.format_table_name(queue_name, 'q');
    known  text;
BEGIN
    IF coalesce(throttle_interval_ms, -1) < 0 THEN
        RAISE EXCEPTION 'throttle_interval_ms must be non-negative' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pgmq._lock_queue(queue_name);
    SELECT m.queue_name INTO known FROM pgmq.meta m WHERE lower(m.queue_name) = lower(enable_notify_insert.queue_name);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'queue "%" does not exist', queue_name USING ERRCODE = 'undefined_table';
    END IF;
    INSERT INTO pgmq.notify_insert_throttle AS t (queue_name, throttle_interval_ms)
    VALUES (known, enable_notify_insert.throttle_interval_ms)
    ON CONFLICT ON CONSTRAINT notify_insert_throttle_queue_name_key DO UPDATE
    SET throttle_interval_ms = excluded.throttle_interval_ms
    WHERE t.throttle_interval_ms <> excluded.throttle_interval_ms;
    IF NOT EXISTS (
        SELECT FROM pg_trigger g
        WHERE g.tgrelid = format('pgmq.%I', qtable)::regclass AND g.tgname = 'trigger_notify_queue_insert_listeners'
    ) THEN
        EXECUTE format(
            'CREATE TRIGGER trigger_notify_queue_insert_listeners AFTER INSERT ON pgmq.%I '
            'FOR EACH STATEMENT EXECUTE FUNCTION pgmq.notify_queue_listeners(%L)', qtable, known);
    END IF;
END
$$;

CREATE FUNCTION pgmq.disable_notify_insert(queue_name text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    qtable text := pgmq.format_table_name(queue_name, 'q');
BEGIN
    PERFORM pgmq._lock_queue(queue_name);
    IF to_regclass(format('pgmq.%I', qtable)) IS NULL THEN
        RAISE EXCEPTION 'queue "%" does not exist', queue_name USING ERRCODE = 'undefined_table';
    END IF;
    EXECUTE format('DROP TRIGGER IF EXISTS trigger_notify_queue_insert_listeners ON pgmq.%I', qtable);
    DELETE FROM pgmq.notify_insert_throttle t WHERE lower(t.queue_name) = lower(disable_notify_insert.queue_name);
END
$$;

CREATE FUNCTION pgmq.update_notify_insert(queue_name text, throttle_interval_ms integer) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF coalesce(throttle_interval_ms, -1) < 0 THEN
        RAISE EXCEPTION 'throttle_interval_ms must be non-negative' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    UPDATE pgmq.notify_insert_throttle t
    SET throttle_interval_ms = update_notify_insert.throttle_interval_ms, last_notified_at = to_timestamp(0)
    WHERE lower(t.queue_name) = lower(update_notify_insert.queue_name);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'queue "%" does not exist or has no notifications', queue_name
            USING ERRCODE = 'undefined_object', HINT = 'Use pgmq.enable_notify_insert.';
    END IF;
END
$$;

CREATE FUNCTION pgmq.list_notify_insert_throttles()
RETURNS TABLE (queue_name text, throttle_interval_ms integer, last_notified_at timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT t.queue_name::text, t.throttle_interval_ms, t.last_notified_at
    FROM pgmq.notify_insert_throttle t
    ORDER BY t.queue_name
$$;
