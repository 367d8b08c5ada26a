package pgmq

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// impostors are functions, operators and types that are called like the
// server's own, in a schema that somebody has put before pg_catalog.
const impostors = `
CREATE SCHEMA evil;
CREATE FUNCTION evil.raise() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE 'an impostor was called'; END $$;
DO $do$
DECLARE
	f record;
BEGIN
	FOR f IN SELECT p.proname, pg_get_function_identity_arguments(p.oid) AS args, format_type(p.prorettype, NULL) AS result
		FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND NOT p.proretset AND p.prokind = 'f'
		AND p.proname IN ('statement_timestamp', 'clock_timestamp', 'now', 'octet_length', 'pg_notify', 'jsonb_typeof', 'hashtext', 'lower', 'current_database',
			'pg_backend_pid', 'current_setting', 'set_config', 'pg_is_in_recovery', 'pg_postmaster_start_time', 'to_regclass', 'pg_advisory_xact_lock', 'pg_try_advisory_xact_lock', 'quote_ident')
	LOOP
		EXECUTE format('CREATE FUNCTION evil.%I(%s) RETURNS %s LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.raise(); END $$', f.proname, f.args, f.result);
	END LOOP;
END $do$;
CREATE FUNCTION evil.compare(timestamptz, timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.raise(); END $$;
CREATE FUNCTION evil.compare(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.raise(); END $$;
CREATE FUNCTION evil.join(jsonb, jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.raise(); END $$;
CREATE OPERATOR evil.<= (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = evil.compare);
CREATE OPERATOR evil.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = evil.compare);
CREATE OPERATOR evil.|| (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = evil.join);
CREATE DOMAIN evil.jsonb AS pg_catalog.text CHECK (false);
CREATE DOMAIN evil.timestamptz AS pg_catalog.text CHECK (false);
CREATE TABLE evil.q_orders (msg_id bigint);
CREATE TABLE evil.pg_class (relname text)`

// Wherever a search_path leads, statements mean pgmq's tables and the server's
// functions.
func TestSearchPath(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{"empty": `''`, "elsewhere": `nowhere`, "impostors first": `evil`, "impostors before pg_catalog": `evil, public, pg_catalog`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			prepared := setup(t, ours)
			prepared.exec(impostors)
			var database string
			require.NoError(t, prepared.db.QueryRow(t.Context(), `SELECT current_database()`).Scan(&database))
			prepared.exec(fmt.Sprintf(`ALTER DATABASE %s SET search_path = %s`, database, path))
			prepared.Close()
			everyStatement(t, open(t, prepared.dsn))
		})
	}
}
