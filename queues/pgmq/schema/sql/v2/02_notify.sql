-- What a session learned about a queue is kept in settings of the session,
-- which are cheaper than looking at the table: until when it need not announce
-- (quiet), the throttle where that is a short one (short), and for how long it was
-- quiet the last time (pace). A transaction that rolls back takes its settings with
-- it. They are numbers, since the text of a time depends on other settings, and
-- seconds.
--
-- Noting an announcement in the throttle table costs the first message after a
-- quiet time as much as its insert. With a throttle of up to 50 ms that is left out
-- as long as sessions do not meet: then each goes by itself, and no two announce
-- at once, because commits that announce wait for each other. Who meets another
-- one asks the table, as with a long throttle, so that many sessions together do
-- not announce more often than it says.
--
-- A session that goes by itself is quiet for an eighth of the throttle at first,
-- for twice as long each time that it goes on at once, within a sixteenth, and for
-- half as long when it takes longer. So the throttle costs busy producers little,
-- and nearly every message of one that sends some hundred a second is announced.
CREATE OR REPLACE FUNCTION pgmq.notify_queue_listeners() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    at       float8;
    short    text; -- until when it is believed, and the throttle
    throttle float8;
    pace     float8;
    late     float8; -- how long after it was quiet
    quiet    timestamptz;
    due      boolean;
    done     text;
BEGIN
    IF date_part('epoch', clock_timestamp()) < nullif(current_setting('pgmq.quiet_' || TG_RELID, true), '')::float8 THEN
        RETURN NULL;
    END IF;
    -- Assignments are evaluated without the executor, which PERFORM starts.
    at := date_part('epoch', clock_timestamp());
    short := current_setting('pgmq.short_' || TG_RELID, true);
    -- NULL AND would still take the lock.
    due := coalesce(at < nullif(split_part(short, ' ', 1), '')::float8, false)
        AND pg_try_advisory_xact_lock(1885826417, TG_RELID::integer); -- "pgmq" as four bytes
    IF due THEN
        throttle := split_part(short, ' ', 2)::float8;
        pace := nullif(current_setting('pgmq.pace_' || TG_RELID, true), '')::float8;
        late := at - nullif(current_setting('pgmq.quiet_' || TG_RELID, true), '')::float8;
        IF late < throttle / 16 THEN
            pace := least(2 * pace, throttle);
        ELSIF late < throttle THEN
            pace := greatest(pace / 2, throttle / 8);
        ELSE
            pace := throttle / 8;
        END IF;
        done := set_config('pgmq.pace_' || TG_RELID, pace::text, false);
        done := set_config('pgmq.quiet_' || TG_RELID, (at + pace)::text, false);
    ELSE
        SELECT n.quiet_until, n.due INTO quiet, due FROM pgmq._notify_due(TG_ARGV[0]) n;
        throttle := date_part('epoch', quiet) - at;
        IF throttle IS NOT NULL THEN
            done := set_config('pgmq.quiet_' || TG_RELID, (at + throttle)::text, false);
        END IF;
        -- It counts from a little before the table was asked.
        IF due AND throttle <= 0.055 THEN
            done := set_config('pgmq.short_' || TG_RELID, (at + 10) || ' ' || throttle, false);
        END IF;
    END IF;
    IF due THEN
        done := pg_notify('pgmq.' || TG_TABLE_NAME || '.INSERT', '');
    END IF;
    RETURN NULL;
END
$$;
