package doctor

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/internal/checkup"
	"github.com/stephost/stephost/internal/devpg/devpgtest"
	"github.com/stephost/stephost/queues/pgmq"
	"github.com/stephost/stephost/queues/pgmq/schema"
)

// patient is a database of its own, with a target for it.
type patient struct {
	Target
	t  *testing.T
	db *pgx.Conn // a superuser's, to make it ill and well
}

// healthy has a namespace with all of its queues.
func healthy(t *testing.T) *patient {
	t.Helper()
	return admit(t, devpgtest.New(t, devpgtest.Template("doctor", fill)))
}

func fill(ctx context.Context, conn *pgx.Conn) error {
	if _, err := schema.Install(ctx, conn); err != nil {
		return err
	}
	_, err := conn.Exec(ctx, `SELECT pgmq.create(q) FROM unnest(ARRAY['orders_queue','orders_dead','results']) q`)
	return err
}

func admit(t *testing.T, dsn string) *patient {
	t.Helper()
	p := &patient{t: t, Target: Target{
		DSN: dsn, Origin: "the test", Listens: true,
		Queues: []Queue{{
			Namespace: "orders", Name: "orders_queue", Dead: "orders_dead", Result: "results",
			StepKey: "step", Steps: []string{"charge", "ship"},
		}},
	}}
	p.db = p.session()
	return p
}

func (p *patient) session() *pgx.Conn {
	p.t.Helper()
	conn, err := pgx.Connect(p.t.Context(), p.DSN)
	require.NoError(p.t, err)
	p.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func (p *patient) exec(sql string) {
	p.t.Helper()
	_, err := p.db.Exec(p.t.Context(), sql, pgx.QueryExecModeSimpleProtocol)
	require.NoError(p.t, err, sql)
}

// examine makes the named checks, or all.
func (p *patient) examine(names ...string) []checkup.Finding {
	p.t.Helper()
	if len(names) == 0 {
		return Examine(p.t.Context(), p.Target)
	}
	some := examine(p.t.Context(), p.Target, func(check string) bool { return slices.Contains(names, check) })
	require.NotEmpty(p.t, some, "no check has this name")
	return some
}

// one makes a check that has one finding.
func (p *patient) one(name string) checkup.Finding {
	p.t.Helper()
	found := p.examine(name)
	require.Len(p.t, found, 1, "%s", text(found...))
	return found[0]
}

// matching is the finding of a check that says so.
func (p *patient) matching(name, seen string) checkup.Finding {
	p.t.Helper()
	found := p.examine(name)
	for _, f := range found {
		if strings.Contains(f.Seen, seen) {
			return f
		}
	}
	p.t.Fatalf("nothing says %q: %s", seen, text(found...))
	return checkup.Finding{}
}

func text(findings ...checkup.Finding) string {
	var b strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&b, "%s %s: %s (%s) %v\n", f.Check, f.Severity, f.Seen, f.Why, f.Fixes)
	}
	return b.String()
}

var termination = regexp.MustCompile(`pg_terminate_backend\((\d+)\)`)

// follow does what the fixes of a finding say: statements and commands.
func (p *patient) follow(f checkup.Finding) {
	p.t.Helper()
	done := 0
	for _, fix := range f.Fixes {
		switch fix.Kind {
		case checkup.SQL:
			// A session's locks are there until it has ended.
			p.exec(termination.ReplaceAllString(fix.Text, "pg_terminate_backend($1, 60000)"))
		case checkup.Command:
			p.command(fix.Text)
		default:
			continue
		}
		done++
	}
	require.NotZero(p.t, done, "nothing to paste: %s", text(f))
}

// command does what the command line does.
func (p *patient) command(line string) {
	p.t.Helper()
	ctx := p.t.Context()
	line, _, _ = strings.Cut(line, " #")
	if line == "stephost queue install" {
		_, err := schema.Install(ctx, p.db)
		require.NoError(p.t, err)
		return
	}
	broker, err := pgmq.Open(ctx, pgmq.Options{DSN: p.DSN})
	require.NoError(p.t, err)
	defer broker.Close()
	words := strings.Fields(strings.TrimSuffix(strings.TrimSpace(line), " --force"))
	require.Len(p.t, words, 4, "an unknown command: %s", line)
	switch strings.Join(words[1:3], " ") {
	case "queue create":
		_, err = broker.CreateQueue(ctx, words[3])
	case "queue tune":
		_, err = broker.TuneQueue(ctx, words[3])
	case "queue drop":
		_, err = broker.DropQueue(ctx, words[3])
	case "queue peek":
		_, err = broker.Peek(ctx, words[3], 10)
	case "dead list":
		_, err = broker.DeadList(ctx, words[3], pgmq.DeadFilter{}, 0, 10)
	default:
		p.t.Fatalf("an unknown command: %s", line)
	}
	require.NoError(p.t, err)
}
