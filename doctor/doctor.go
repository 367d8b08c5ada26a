package doctor

import (
	"context"
	"slices"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/stephost/stephost/eventsystem"
	"github.com/stephost/stephost/host"
	"github.com/stephost/stephost/host/admin"
	"github.com/stephost/stephost/host/config"
	"github.com/stephost/stephost/internal/checkup"
	"github.com/stephost/stephost/queues/pgmq"
	database "github.com/stephost/stephost/queues/pgmq/doctor"
)

// Finding is one thing that a check found.
type Finding = checkup.Finding

// Options are what is examined.
type Options struct {
	// Config is what Diagnostics are about; with errors among these, only its
	// Files are used. It was read without a look at the plugins' programs. Nil:
	// there is no file.
	Config      *config.Config
	Diagnostics hcl.Diagnostics
	// DSN is the database, or ""; Origin says where it is named.
	DSN, Origin string
	// Status asks the running host.
	Status func(ctx context.Context) (admin.Status, error)
	// Host is what a host would be built from, to try plugins. Its Config is
	// ignored. SkipPlugins leaves them alone.
	Host        host.Options
	SkipPlugins bool
	// Limits are when something in the database is worth a warning.
	Limits database.Limits
}

// checkTimeout bounds a check. Trying plugins has deadlines of its own, for the
// start and for the stop.
const checkTimeout = 5 * time.Minute

// Examine makes all checks. They take seconds, at most a few minutes where
// something hangs.
func Examine(ctx context.Context, opts Options) []Finding {
	e := &exam{Options: opts}
	if opts.Config == nil || opts.Diagnostics.HasErrors() {
		e.cfg = nil
	} else {
		e.cfg = opts.Config
	}
	found := checkup.Run(ctx, checkTimeout, []checkup.Check{
		{Name: "config", Run: e.config},
		{Name: "host", Run: e.host},
		{Name: "namespaces", Run: e.namespaces},
		{Name: "programs", Run: e.programs},
		{Name: "plugins", Run: e.plugins},
		{Name: "machine", Run: e.machine},
	})
	if e.DSN == "" {
		return append(found, Finding{
			Check: "connection", Severity: checkup.Error, Seen: "no database is named",
			Why:   "the queues are in it",
			Fixes: []checkup.Fix{{Kind: checkup.Edit, Text: "queue \"pgmq\" {\n  dsn = env(\"DATABASE_URL\")\n}"}, {Kind: checkup.Command, Text: "export DATABASE_URL=postgres://USER:PASSWORD@HOST:5432/DATABASE"}},
		})
	}
	return append(found, database.Examine(ctx, e.target())...)
}

// exam is one examination.
type exam struct {
	Options
	cfg    *config.Config // nil: there is none, or it is not valid
	status *admin.Status  // nil: no host answered
	tried  []host.TriedPlugin
}

func (e *exam) target() database.Target {
	t := database.Target{DSN: e.DSN, Origin: e.Origin, Limits: e.Limits, Listens: true}
	if e.cfg == nil {
		return t
	}
	q := e.cfg.Queue
	if e.DSN == q.DSN.Reveal() {
		t.ListenDSN = q.ListenDSN.Reveal()
	}
	t.OnComplete, t.Notifications, t.MaxConnections = pgmq.OnComplete(q.OnComplete), pgmq.Notifications(q.Notifications), q.MaxConnections
	t.Listens = e.cfg.EventSystem.Listener.Enabled && e.cfg.EventSystem.DeploymentMode != eventsystem.PollingOnly
	for _, n := range e.cfg.Namespaces {
		queue := database.Queue{
			Namespace: n.Name, Name: n.Queue, Dead: n.DeadLetter, Result: n.ResultQueue, StepKey: n.StepKey,
			PruneArchive: n.Archive != config.Archive{}, PruneDead: n.DeadLetterRetain > 0,
		}
		at := slices.IndexFunc(e.tried, func(p host.TriedPlugin) bool { return p.Name == n.Plugin })
		if at >= 0 && len(e.tried[at].Steps) > 0 {
			queue.Steps, queue.HasDefault = e.tried[at].Steps, e.tried[at].Default != ""
		}
		t.Queues = append(t.Queues, queue)
	}
	return t
}

func command(text string) checkup.Fix { return checkup.Fix{Kind: checkup.Command, Text: text} }

func edit(text string) checkup.Fix { return checkup.Fix{Kind: checkup.Edit, Text: text} }

func advice(text string) checkup.Fix { return checkup.Fix{Kind: checkup.Advice, Text: text} }
