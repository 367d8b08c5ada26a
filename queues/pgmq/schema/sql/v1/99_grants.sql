-- As pgmq does it: whoever monitors the server may look at the queues. Each
-- new queue grants the same.
GRANT USAGE ON SCHEMA pgmq TO pg_monitor;
GRANT SELECT ON ALL TABLES IN SCHEMA pgmq TO pg_monitor;
