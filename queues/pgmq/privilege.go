package pgmq

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Task is something that is done in the database, and needs privileges for it.
type Task string

// What a host does all the time.
const (
	TaskConnect    Task = "connect"
	TaskListen     Task = "listen" // and prove that notifications arrive
	TaskFind       Task = "find work"
	TaskClaim      Task = "claim"
	TaskExtend     Task = "extend leases"
	TaskComplete   Task = "complete"
	TaskArchive    Task = "archive"
	TaskGiveBack   Task = "give back" // retry, snooze, release
	TaskDeadLetter Task = "dead-letter"
	TaskSend       Task = "send"               // results and emitted messages
	TaskCount      Task = "count dead letters" // for the metric
	TaskPrune      Task = "delete what is older than it is kept"
	// TaskBookkeeping is for queues without a headers column, before pgmq 1.5.
	TaskBookkeeping Task = "keep records beside the queue"
)

// What the operator's commands do.
const (
	TaskInspect Task = "list and show"
	TaskReplay  Task = "replay dead letters"
	TaskDiscard Task = "discard dead letters"
	TaskPurge   Task = "purge"
	TaskCreate  Task = "create queues"
	TaskDrop    Task = "drop queues"
	TaskInstall Task = "install the schema"
)

// HostTasks are what `stephost run` does.
func HostTasks() []Task {
	return []Task{
		TaskConnect, TaskListen, TaskFind, TaskClaim, TaskExtend, TaskComplete, TaskArchive, TaskGiveBack,
		TaskDeadLetter, TaskSend, TaskCount, TaskPrune, TaskBookkeeping,
	}
}

// ToolTasks are what the commands for operators do, each for itself.
func ToolTasks() []Task {
	return []Task{TaskInspect, TaskReplay, TaskDiscard, TaskPurge, TaskCreate, TaskDrop, TaskInstall}
}

// ObjectKind is what a privilege is about.
type ObjectKind string

// The kinds.
const (
	Database ObjectKind = "DATABASE"
	Schema   ObjectKind = "SCHEMA"
	Table    ObjectKind = "TABLE"
	Function ObjectKind = "FUNCTION"
	// OwnerRole stands for the ownership of a table, which cannot be granted:
	// the role must be a member of the one that owns it.
	OwnerRole ObjectKind = "ROLE"
)

// Privilege is one right on one object.
type Privilege struct {
	// Right is what GRANT calls it, for example SELECT. It is empty with an
	// OwnerRole.
	Right string
	Kind  ObjectKind
	// Object is the quoted and qualified name; a function's has the types of its
	// arguments.
	Object string
	// Tasks are what does not work without it.
	Tasks []Task

	oid int64
}

// Grant is the statement that gives the privilege to a role.
func (p Privilege) Grant(role string) string { return "GRANT " + p.what() + " TO " + quoteName(role) }

// Revoke is the statement that takes the privilege away from a role.
func (p Privilege) Revoke(role string) string {
	return "REVOKE " + p.what() + " FROM " + quoteName(role)
}

func (p Privilege) what() string {
	if p.Kind == OwnerRole {
		return p.Object
	}
	return p.Right + " ON " + string(p.Kind) + " " + p.Object
}

// String names the privilege, for example SELECT ON TABLE pgmq.q_orders.
func (p Privilege) String() string {
	if p.Kind == OwnerRole {
		return "membership in " + p.Object
	}
	return p.what()
}

// Grants are the statements that give all of the privileges to a role: one for
// each object.
func Grants(role string, privileges []Privilege) []string {
	var merged []Privilege
	for _, p := range privileges {
		at := slices.IndexFunc(merged, func(m Privilege) bool {
			return m.Kind == p.Kind && m.Object == p.Object && p.Kind != OwnerRole
		})
		if at < 0 {
			merged = append(merged, p)
		} else {
			merged[at].Right += ", " + p.Right
		}
	}
	statements := make([]string, len(merged))
	for i, p := range merged {
		statements[i] = p.Grant(role)
	}
	return statements
}

// Workload is what a host does with which queues.
type Workload struct {
	// Consume are the queues whose messages it runs, Send those that get results
	// and emitted messages, Dead the dead-letter queues.
	Consume, Send, Dead []string
	// PruneArchives are queues whose archives, PruneDead dead-letter queues whose
	// messages are deleted when they are old.
	PruneArchives, PruneDead []string
	// OnComplete and Notifications are as in Options.
	OnComplete    OnComplete
	Notifications Notifications
}

// Querier is a pool, a connection or a transaction.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Privileges returns what a role needs for the tasks, and nothing that it does
// not need: the least that can be granted. Queues that do not exist are left
// out. Whoever calls it needs no privileges, since it reads the catalog only.
func Privileges(ctx context.Context, db Querier, w Workload, tasks ...Task) ([]Privilege, error) {
	facts, err := readFacts(ctx, db, w)
	if err != nil {
		return nil, fmt.Errorf("find out which privileges are needed: %w", err)
	}
	list := privileges{facts: facts, tasks: tasks}
	list.host(w)
	list.tools(w)
	return list.found, nil
}

// MissingPrivileges are those that the connection's role does not have.
func MissingPrivileges(ctx context.Context, db Querier, needed []Privilege) ([]Privilege, error) {
	kinds, oids, rights := make([]string, len(needed)), make([]int64, len(needed)), make([]string, len(needed))
	for i, p := range needed {
		kinds[i], oids[i], rights[i] = string(p.Kind), p.oid, p.Right
	}
	rows, err := db.Query(ctx, `
		SELECT ord::int FROM unnest($1::text[], $2::bigint[], $3::text[]) WITH ORDINALITY AS p(kind, id, right_, ord)
		WHERE NOT CASE kind
			WHEN 'DATABASE' THEN has_database_privilege(id::oid, right_)
			WHEN 'SCHEMA' THEN has_schema_privilege(id::oid, right_)
			WHEN 'TABLE' THEN has_table_privilege(id::oid, right_)
			WHEN 'FUNCTION' THEN has_function_privilege(id::oid, right_)
			ELSE pg_has_role(id::oid, 'USAGE') END
		ORDER BY ord`, kinds, oids, rights)
	if err != nil {
		return nil, fmt.Errorf("ask for privileges: %w", err)
	}
	var (
		missing []Privilege
		ord     int
	)
	_, err = pgx.ForEachRow(rows, []any{&ord}, func() error {
		missing = append(missing, needed[ord-1])
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("ask for privileges: %w", err)
	}
	return missing, nil
}

// quoteName quotes a name where it must be, as psql would show it.
func quoteName(name string) string {
	plain := name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r != '_' && (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
	if plain && (name[0] < '0' || name[0] > '9') && !reserved(name) {
		return name
	}
	return pgx.Identifier{name}.Sanitize()
}

// reserved tells whether SQL takes a word for something else than a name: the
// reserved key words of PostgreSQL (pg_get_keywords), and the two that name no
// role in a GRANT.
func reserved(name string) bool {
	switch name {
	case "public", "none",
		"all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "authorization",
		"binary", "both", "case", "cast", "check", "collate", "collation", "column", "concurrently",
		"constraint", "create", "cross", "current_catalog", "current_date", "current_role",
		"current_schema", "current_time", "current_timestamp", "current_user", "default",
		"deferrable", "desc", "distinct", "do", "else", "end", "except", "false", "fetch", "for", "foreign",
		"freeze", "from", "full", "grant", "group", "having", "ilike", "in", "initially", "inner", "intersect",
		"into", "is", "isnull", "join", "lateral", "leading", "left", "like", "limit", "localtime",
		"localtimestamp", "natural", "not", "notnull", "null", "offset", "on", "only", "or", "order", "outer",
		"overlaps", "placing", "primary", "references", "returning", "right", "select",
		"session_user", "similar", "some", "symmetric", "table", "tablesample", "then", "to", "trailing",
		"true", "union", "unique", "user", "using", "variadic", "verbose", "when", "where", "window", "with":
		return true
	}
	return false
}
