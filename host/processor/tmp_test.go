package processor_test

const tmpSchema = `
CREATE SCHEMA pgmq;
CREATE TABLE pgmq.meta (queue_name varchar UNIQUE NOT NULL, is_partitioned bool NOT NULL, is_unlogged bool NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
CREATE FUNCTION pgmq.create(queue_name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
 EXECUTE format('CREATE TABLE pgmq.%I (msg_id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, read_ct int NOT NULL DEFAULT 0, enqueued_at timestamptz NOT NULL DEFAULT now(), last_read_at timestamptz, vt timestamptz NOT NULL, message jsonb, headers jsonb)', 'q_'||queue_name);
 EXECUTE format('CREATE INDEX ON pgmq.%I (vt)', 'q_'||queue_name);
 EXECUTE format('CREATE TABLE pgmq.%I (msg_id bigint PRIMARY KEY, read_ct int NOT NULL DEFAULT 0, enqueued_at timestamptz NOT NULL DEFAULT now(), last_read_at timestamptz, archived_at timestamptz NOT NULL DEFAULT now(), vt timestamptz NOT NULL, message jsonb, headers jsonb)', 'a_'||queue_name);
 INSERT INTO pgmq.meta VALUES (queue_name, false, false);
END $$;
CREATE FUNCTION pgmq.drop_queue(queue_name text) RETURNS bool LANGUAGE plpgsql AS $$
BEGIN
 EXECUTE format('DROP TABLE pgmq.%I', 'q_'||queue_name);
 EXECUTE format('DROP TABLE pgmq.%I', 'a_'||queue_name);
 DELETE FROM pgmq.meta m WHERE m.queue_name = drop_queue.queue_name;
 RETURN true;
END $$;
`
