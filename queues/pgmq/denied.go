package pgmq

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// PermissionError says which grant is missing.
type PermissionError struct {
	// Grant is the statement that gives it.
	Grant string
	err   error
}

func (e *PermissionError) Error() string { return fmt.Sprintf("%v: run %s", e.err, e.Grant) }
func (e *PermissionError) Unwrap() error { return e.err }

// denied names the grant that an error with SQLSTATE 42501 is about.
func (b *Broker) denied(err error, pg *pgconn.PgError) error {
	var already *PermissionError
	if errors.As(err, &already) {
		return err
	}
	grant := grantFor(pg.Message, b.announce.known().send) + " TO " + quoteName(b.work.Config().ConnConfig.User)
	return &PermissionError{Grant: grant, err: err}
}

// explainCreation is explain for what creates tables: of a schema it needs more.
func (b *Broker) explainCreation(err error) error {
	err = b.explain(err)
	var denied *PermissionError
	if !errors.As(err, &denied) {
		return err
	}
	grant := strings.Replace(denied.Grant, "GRANT USAGE ON SCHEMA", "GRANT USAGE, CREATE ON SCHEMA", 1)
	return &PermissionError{Grant: grant, err: denied.err}
}

var (
	deniedPattern = regexp.MustCompile(`^permission denied for (\w+) "?(.+?)"?$`)
	ownerPattern  = regexp.MustCompile(`^must be owner of table "?(.+?)"?$`)
)

// grantFor reads what was denied out of the server's message: the error has no
// field for it. Of a table it names all that stephost ever does with one, so that
// one grant is enough. Other languages than English get the general advice.
// tasker is tasker's send function, or empty.
func grantFor(message, tasker string) string {
	if owned := ownerPattern.FindStringSubmatch(message); owned != nil {
		return "GRANT <the owner of pgmq." + quoteName(owned[1]) + ">"
	}
	match := deniedPattern.FindStringSubmatch(message)
	if match == nil {
		return "GRANT USAGE ON SCHEMA pgmq, and GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA pgmq, and GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA pgmq,"
	}
	kind, name := match[1], quoteName(match[2])
	switch kind {
	case "database":
		return "GRANT CREATE ON DATABASE " + name
	case "schema":
		return "GRANT USAGE ON SCHEMA " + name
	case "function":
		switch {
		case name == "pg_notify":
			return "GRANT EXECUTE ON FUNCTION pg_catalog.pg_notify(text, text)"
		case tasker != "" && strings.HasSuffix(tasker, pgx.Identifier{match[2]}.Sanitize()):
			return "GRANT EXECUTE ON FUNCTION " + tasker + "(text, jsonb, integer)"
		}
		// The message does not tell which one of those that share a name.
		return "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA pgmq"
	case "table":
		if bookkeepingSchema+"."+name == bookkeepingTable {
			return "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE " + bookkeepingTable
		}
		return "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE pgmq." + name
	}
	return "GRANT ALL ON " + strings.ToUpper(kind) + " pgmq." + name
}
