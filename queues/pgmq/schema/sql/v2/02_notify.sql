-- What create gives a new queue.
CREATE OR REPLACE FUNCTION pgmq._default_throttle_ms() RETURNS integer
LANGUAGE sql IMMUTABLE AS $$ SELECT 50 $$;

-- Decides for a session that does not know whether it may be quiet. As in version
-- 1, but with a throttle of up to 50 ms it goes by itself from its first message on
-- (see below), unless somebody is announcing right now.
CREATE OR REPLACE FUNCTION pgmq._notify_due(queue_name text, OUT quiet_until timestamptz, OUT due boolean)
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
    IF throttle IS NULL OR throttle = interval '0' THEN
        RETURN;
    END IF;
    IF throttle <= interval '50 milliseconds' AND pg_try_advisory_xact_lock(1885826417,
        to_regclass(format('pgmq.%I', pgmq.format_table_name(_notify_due.queue_name, 'q')))::oid::integer) THEN
        quiet_until := at + throttle;
        RETURN;
    END IF;
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
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

-- What a session learned about a queue is kept in settings of the session,
-- which are cheaper than looking at the table: until when it need not announce
-- (silent), and how it goes by itself (own), where the throttle is a short one:
-- until when that is believed, the throttle, for how long it was quiet the last
-- time, when it last announced, and when that time was over. A transaction that
-- rolls back takes its settings with it, and leaves empty ones. They are exact
-- numbers, in seconds, and bytes, since the text of a time and of a float8 depend
-- on other settings. Their names end with the trigger's second argument; triggers
-- of version 1 have none.
--
-- The trigger's condition looks at the first of them, so that the many statements
-- which announce nothing do not even start this function. Each statement parses and
-- plans the condition anew, so it is as short as can be: a function, whose own
-- expression is planned once in a session. An empty text is fine as bytes, and the
-- bytes of times sort like the times.
--
-- Noting an announcement in the throttle table costs the first message after a
-- quiet time as much as its insert. With a throttle of up to 50 ms that is left out:
-- each session goes by itself. No two announce at once, because commits that
-- announce wait for each other. Who meets one that does leaves it to that one
-- as long as its own last announcement is so recent that whoever listens is still
-- looking, and asks the table after that, since the other one may roll back or stay
-- open.
--
-- A session that goes by itself is quiet for 2.5 ms at first, for twice as long
-- each time that it goes on at once or meets another one, up to the throttle,
-- and for half as long when it takes longer. So the throttle costs busy
-- producers little, and nearly every message of one that sends some hundred a
-- second is announced.
CREATE OR REPLACE FUNCTION pgmq.notify_queue_listeners() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    at    numeric;
    key   text := coalesce(TG_ARGV[1], TG_RELID::text);
    own   numeric[];
    pace  numeric;
    late  numeric; -- how long after it was quiet
    quiet timestamptz;
    due   boolean;
    done  text;
BEGIN
    IF timestamptz_send(clock_timestamp()) <= current_setting('pgmq.silent_' || key, true)::bytea THEN
        RETURN NULL;
    END IF;
    -- Assignments are evaluated without the executor, which PERFORM starts.
    at := extract(epoch FROM clock_timestamp());
    own := nullif(current_setting('pgmq.own_' || key, true), '')::numeric[];
    IF at < own[1] THEN
        due := pg_try_advisory_xact_lock(1885826417, TG_RELID::integer); -- "pgmq" as four bytes
    END IF;
    IF due OR NOT due AND at < own[4] + 2 * own[2] THEN
        late := at - own[5];
        IF NOT due OR late < 0.00125 THEN
            pace := least(2 * own[3], own[2]);
        ELSIF late < own[2] THEN
            pace := greatest(0.5 * own[3], least(0.0025, own[2]));
        ELSE
            pace := least(0.0025, own[2]);
        END IF;
        done := set_config('pgmq.own_' || key, ARRAY[own[1], own[2], pace, CASE WHEN due THEN at ELSE own[4] END, at + pace]::text, false);
    ELSE
        SELECT n.quiet_until, n.due INTO quiet, due FROM pgmq._notify_due(TG_ARGV[0]) n;
        pace := extract(epoch FROM quiet) - at;
        -- It counts from a little before the table was asked.
        IF due AND pace <= 0.055 THEN
            done := set_config('pgmq.own_' || key, ARRAY[at + 10, pace, least(0.0025, pace), at, at + pace]::text, false);
        END IF;
    END IF;
    IF pace IS NOT NULL THEN
        done := set_config('pgmq.silent_' || key, '\x' || encode(timestamptz_send(to_timestamp((at + pace)::float8)), 'hex'), false);
    END IF;
    IF due THEN
        done := pg_notify('pgmq.' || TG_TABLE_NAME || '.INSERT', '');
    END IF;
    RETURN NULL;
END
$$;

-- The condition of the trigger. It says that it is stable, which it is not, because
-- a volatile function takes a snapshot for each expression.
CREATE FUNCTION pgmq._may_announce(key text) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (pg_catalog.timestamptz_send(pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.>)
        pg_catalog.current_setting('pgmq.silent_' OPERATOR(pg_catalog.||) key, true)::pg_catalog.bytea) IS NOT FALSE;
END
$$;

-- Makes or replaces the trigger. A table can be renamed, and copied to another
-- database: the names of its settings stay what they are. They are a hash, since a
-- queue's name can have characters that a setting's cannot, and since each of them is
-- read anew with the condition.
CREATE FUNCTION pgmq._create_notify_trigger(qtable text, queue_name text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    key text := to_hex(hashtextextended(qtable, 0));
BEGIN
    EXECUTE format(
        'CREATE OR REPLACE TRIGGER trigger_notify_queue_insert_listeners AFTER INSERT ON pgmq.%I FOR EACH STATEMENT '
        'WHEN (pgmq._may_announce(%L)) EXECUTE FUNCTION pgmq.notify_queue_listeners(%L, %L)', qtable, key, queue_name, key);
END
$$;

-- Enabling again only changes the interval: the trigger, whose creation needs
-- a lock that stops producers, is left as it is.
CREATE OR REPLACE FUNCTION pgmq.enable_notify_insert(queue_name text, throttle_interval_ms integer DEFAULT 250) RETURNS void
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
        PERFORM pgmq._create_notify_trigger(qtable, known);
    END IF;
END
$$;

-- The triggers of before go on as well, only dearer: one whose table is in use
-- for longer, or belongs to somebody else, is left alone.
DO $$
DECLARE
    waiting text := current_setting('lock_timeout');
    made    record;
BEGIN
    PERFORM set_config('lock_timeout', '100ms', true);
    FOR made IN
        SELECT c.relname, m.queue_name
        FROM pg_trigger g
        JOIN pg_class c ON c.oid = g.tgrelid
        JOIN pgmq.meta m ON c.relname = 'q_' || lower(m.queue_name)
        WHERE g.tgfoid = 'pgmq.notify_queue_listeners()'::regprocedure AND c.relnamespace = 'pgmq'::regnamespace
          AND g.tgname = 'trigger_notify_queue_insert_listeners' AND g.tgenabled = 'O'
    LOOP
        BEGIN
            PERFORM pgmq._create_notify_trigger(made.relname, made.queue_name);
        EXCEPTION WHEN lock_not_available OR insufficient_privilege THEN
            NULL;
        END;
    END LOOP;
    PERFORM set_config('lock_timeout', waiting, true);
END
$$;
