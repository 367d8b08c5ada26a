package ledger

import (
	"context"
	"fmt"
)

// keep is called for every row that is deleted. A row of the archive or of the
// dead letters is told by its message, a result by the number that the host
// copied into it.
const keep = `
CREATE FUNCTION chaos.keep() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	known text := CASE TG_ARGV[0] WHEN 'result' THEN OLD.message->>'correlation_id' ELSE OLD.message->>'id' END;
BEGIN
	INSERT INTO chaos.removed VALUES (
		TG_ARGV[0], pg_xact_commit_timestamp(OLD.xmin),
		CASE WHEN known ~ '^[0-9]{1,18}$' THEN known::bigint END,
		coalesce((OLD.headers->'stephost'->>'failures')::int, 0),
		CASE TG_ARGV[0] WHEN 'result' THEN OLD.message->'success' = 'true' END);
	RETURN NULL;
END $$;
CREATE TRIGGER chaos_keep AFTER DELETE ON pgmq.a_` + Queue + ` FOR EACH ROW EXECUTE FUNCTION chaos.keep('archive');
CREATE TRIGGER chaos_keep AFTER DELETE ON pgmq.q_` + DeadQueue + ` FOR EACH ROW EXECUTE FUNCTION chaos.keep('dead');
CREATE TRIGGER chaos_keep AFTER DELETE ON pgmq.q_` + ResultQueue + ` FOR EACH ROW EXECUTE FUNCTION chaos.keep('result');`

// KeepRemoved has the ledger keep what the audit must know of every result, dead
// letter and archived message that is deleted from now on.
func KeepRemoved(ctx context.Context, db Execer) error {
	if _, err := db.Exec(ctx, keep); err != nil {
		return fmt.Errorf("keep what is removed: %w", err)
	}
	return nil
}
