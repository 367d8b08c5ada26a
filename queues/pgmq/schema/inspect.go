package schema

import (
	"context"
	"fmt"
	"regexp"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// Kind is what stands under the name pgmq in a database.
type Kind int

// The kinds.
const (
	// None: there is no schema pgmq.
	None Kind = iota
	// Ours: made by Install.
	Ours
	// Extension: it belongs to the extension pgmq.
	Extension
	// Foreign: made by somebody else, for example pgmq installed from SQL.
	Foreign
)

// String returns the kind as messages name it.
func (k Kind) String() string {
	switch k {
	case Ours:
		return "stephost"
	case Extension:
		return "extension"
	case Foreign:
		return "foreign"
	default:
		return "none"
	}
}

// Info describes the schema pgmq of a database.
type Info struct {
	Kind Kind
	// Version is the version of ours as a number, or that of the extension.
	Version string
	// HasMeta means that the schema has a table of queues, as every pgmq has.
	HasMeta bool
	// Comment is the schema's comment.
	Comment string
}

// Querier is a connection, a transaction or a pool.
type Querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// markerFormat is the comment on the schema that says it is ours.
const markerFormat = "stephost pgmq-compatible schema v%d"

var markerPattern = regexp.MustCompile(`^stephost pgmq-compatible schema v(\d+)$`)

const inspectSQL = `
SELECT n.oid IS NOT NULL,
       coalesce(obj_description(n.oid, 'pg_namespace'), ''),
       coalesce((SELECT e.extversion
                 FROM pg_extension e
                 WHERE e.extname = 'pgmq'
                   AND (e.extnamespace = n.oid OR EXISTS (
                       SELECT FROM pg_depend d
                       WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
                         AND d.classid = 'pg_namespace'::regclass AND d.objid = n.oid))), ''),
       EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND c.relname = 'meta')
FROM (SELECT to_regnamespace('pgmq')::oid) AS n (oid)`

// Inspect tells what the schema pgmq of the database is.
func Inspect(ctx context.Context, q Querier) (Info, error) {
	var info Info
	var exists bool
	var extension string
	if err := q.QueryRow(ctx, inspectSQL).Scan(&exists, &info.Comment, &extension, &info.HasMeta); err != nil {
		return Info{}, fmt.Errorf("inspect schema pgmq: %w", err)
	}
	marker := markerPattern.FindStringSubmatch(info.Comment)
	switch {
	case !exists:
		info.Kind = None
	case extension != "":
		info.Kind, info.Version = Extension, extension
	case marker != nil:
		info.Kind, info.Version = Ours, marker[1]
	default:
		info.Kind = Foreign
	}
	return info, nil
}

// number is the version of a schema of ours, and 0 where there is none.
func (i Info) number() (int, error) {
	if i.Kind != Ours {
		return 0, nil
	}
	return strconv.Atoi(i.Version)
}

// State compares a schema of ours with what this program brings.
type State int

// The states.
const (
	// NotOurs: the schema is not ours.
	NotOurs State = iota
	// Current: nothing is to be installed.
	Current
	// Older: Install upgrades it.
	Older
	// Newer: made by a newer stephost.
	Newer
)

// State compares the schema with the version of this program.
func (i Info) State() State {
	n, err := i.number()
	switch {
	case err != nil || i.Kind != Ours:
		return NotOurs
	case n < Version:
		return Older
	case n > Version:
		return Newer
	}
	return Current
}
