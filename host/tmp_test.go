package host_test

const tmpSchema = `
CREATE SCHEMA pgmq;
CREATE TABLE pgmq.meta (queue_name varchar UNIQUE NOT NULL, is_partitioned bool NOT NULL, is_unlogged bool NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
CREATE FUNCTION pgmq.tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_notify('pgmq.' || TG_TABLE_NAME || '.INSERT', ''); RETURN NULL; END $$;
CREATE FUNCTION pgmq.create(queue_name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
 EXECUTE format('CREATE TABLE pgmq.%I (msg_id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, read_ct int NOT NULL DEFAULT 0, enqueued_at timestamptz NOT NULL DEFAULT now(), last_read_at timestamptz, vt timestamptz NOT NULL, message jsonb, headers jsonb)', 'q_'||queue_name);
 EXECUTE format('CREATE INDEX ON pgmq.%I (vt)', 'q_'||queue_name);
 EXECUTE format('CREATE TABLE pgmq.%I (msg_id bigint PRIMARY KEY, read_ct int NOT NULL DEFAULT 0, enqueued_at timestamptz NOT NULL DEFAULT now(), last_read_at timestamptz, archived_at timestamptz NOT NULL DEFAULT now(), vt timestamptz NOT NULL, message jsonb, headers jsonb)', 'a_'||queue_name);
 INSERT INTO pgmq.meta VALUES (queue_name, false, false);
 EXECUTE format('CREATE TRIGGER n AFTER INSERT ON pgmq.%I FOR EACH STATEMENT EXECUTE FUNCTION pgmq.tell()', 'q_'||queue_name);
END $$;
CREATE FUNCTION pgmq.send(queue_name text, msg jsonb) RETURNS SETOF bigint LANGUAGE plpgsql AS $$
BEGIN RETURN QUERY EXECUTE format('INSERT INTO pgmq.%I (vt, message) VALUES (clock_timestamp(), $1) RETURNING msg_id', 'q_'||queue_name) USING msg; END $$;
CREATE FUNCTION pgmq.send_batch(queue_name text, msgs jsonb[]) RETURNS SETOF bigint LANGUAGE plpgsql AS $$
BEGIN RETURN QUERY EXECUTE format('INSERT INTO pgmq.%I (vt, message) SELECT clock_timestamp(), m FROM unnest($1) m RETURNING msg_id', 'q_'||queue_name) USING msgs; END $$;
CREATE FUNCTION pgmq.drop_queue(queue_name text) RETURNS bool LANGUAGE plpgsql AS $$
BEGIN
 EXECUTE format('DROP TABLE pgmq.%I', 'q_'||queue_name);
 EXECUTE format('DROP TABLE pgmq.%I', 'a_'||queue_name);
 DELETE FROM pgmq.meta m WHERE m.queue_name = drop_queue.queue_name;
 RETURN true;
END $$;
`
