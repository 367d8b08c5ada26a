-- What create gives a new queue.
CREATE OR REPLACE FUNCTION pgmq._default_throttle_ms() RETURNS integer
LANGUAGE sql IMMUTABLE AS $$ SELECT 50 $$;

-- What a session learned about a queue is kept in settings of the session,
-- which are cheaper than looking at the table: until when it need not announce
-- (quiet), and how it goes by itself (own), where the throttle is a short one:
-- until when that is believed, the throttle, for how long it was quiet the last
-- time, and when it last announced. A transaction that rolls back takes its
-- settings with it. They are numbers, since the text of a time depends on other
-- settings, and exact ones, since that of a float8 does too; and seconds.
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
    own   numeric[];
    pace  numeric;
    late  numeric; -- how long after it was quiet
    quiet timestamptz;
    due   boolean;
    done  text;
BEGIN
    IF date_part('epoch', clock_timestamp()) < nullif(current_setting('pgmq.quiet_' || TG_RELID, true), '')::float8 THEN
        RETURN NULL;
    END IF;
    -- Assignments are evaluated without the executor, which PERFORM starts.
    at := extract(epoch FROM clock_timestamp());
    own := nullif(current_setting('pgmq.own_' || TG_RELID, true), '')::numeric[];
    IF at < own[1] THEN
        due := pg_try_advisory_xact_lock(1885826417, TG_RELID::integer); -- "pgmq" as four bytes
    END IF;
    IF due OR at < own[4] + 2 * own[2] THEN
        late := at - nullif(current_setting('pgmq.quiet_' || TG_RELID, true), '')::numeric;
        IF NOT due OR late < 0.00125 THEN
            pace := least(2 * own[3], own[2]);
        ELSIF late < own[2] THEN
            pace := greatest(0.5 * own[3], least(0.0025, own[2]));
        ELSE
            pace := least(0.0025, own[2]);
        END IF;
        done := set_config('pgmq.own_' || TG_RELID, ARRAY[own[1], own[2], pace, CASE WHEN due THEN at ELSE own[4] END]::text, false);
    ELSE
        SELECT n.quiet_until, n.due INTO quiet, due FROM pgmq._notify_due(TG_ARGV[0]) n;
        pace := extract(epoch FROM quiet) - at;
        -- It counts from a little before the table was asked.
        IF due AND pace <= 0.055 THEN
            done := set_config('pgmq.own_' || TG_RELID, ARRAY[at + 10, pace, least(0.0025, pace), at]::text, false);
        END IF;
    END IF;
    IF pace IS NOT NULL THEN
        done := set_config('pgmq.quiet_' || TG_RELID, (at + pace)::text, false);
    END IF;
    IF due THEN
        done := pg_notify('pgmq.' || TG_TABLE_NAME || '.INSERT', '');
    END IF;
    RETURN NULL;
END
$$;
