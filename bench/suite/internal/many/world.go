package many

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/stephost/stephost/bench/suite/internal/hostproc"
	"github.com/stephost/stephost/bench/suite/internal/stamps"
	"github.com/stephost/stephost/bench/suite/internal/stat"
	"github.com/stephost/stephost/bench/suite/internal/suite"
	"github.com/stephost/stephost/internal/wait"
)

// patience bounds each wait.
const patience = 2 * time.Minute

// namespace is one of a world.
type namespace struct {
	name, plugin string
	concurrency  int // 0: the default
}

func (n namespace) queue() string { return n.name + "_queue" }

// world is a host with many namespaces, on a database of its own.
type world struct {
	db         *suite.Database
	host       *hostproc.Host
	stamps     *stamps.Stamps
	namespaces []namespace
	sent       int // places of the stamps that are taken
}

// start starts a host for at most so many stamped messages. settings are lines for
// the event_system block.
func start(ctx context.Context, env *suite.Env, namespaces []namespace, messages int, settings string, prepare func(*world) error) (_ *world, err error) {
	w := &world{namespaces: namespaces}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.stop(ctx))
		}
	}()
	if w.db, err = env.Database(ctx); err != nil {
		return nil, err
	}
	var queues []string
	for _, n := range namespaces {
		queues = append(queues, n.queue(), n.name+"_dead")
	}
	if err = w.db.CreateQueues(ctx, queues...); err != nil {
		return nil, err
	}
	if prepare != nil {
		if err = prepare(w); err != nil {
			return nil, err
		}
	}
	if err = w.db.Settle(ctx); err != nil {
		return nil, err
	}
	var file string
	if w.stamps, file, err = stamps.Create(env.Dir, messages); err != nil {
		return nil, err
	}
	w.host, err = hostproc.Start(ctx, env, hcl(w.db.DSN, env.Programs.Self, file, namespaces, settings))
	return w, err
}

func hcl(dsn, program, file string, namespaces []namespace, settings string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "host {\n id = \"bench\"\n admin { listen = \"127.0.0.1:0\" }\n}\nqueue \"pgmq\" { dsn = %q }\nevent_system {\n%s\n}\n", dsn, settings)
	known := make(map[string]bool)
	for _, n := range namespaces {
		if !known[n.plugin] {
			known[n.plugin] = true
			fmt.Fprintf(&b, "plugin %q {\n command = %q\n args = [%q, %q]\n}\n", n.plugin, program, PluginCommand, file)
		}
		fmt.Fprintf(&b, "namespace %q {\n plugin = %q\n", n.name, n.plugin)
		if n.concurrency > 0 {
			fmt.Fprintf(&b, " concurrency = %d\n", n.concurrency)
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// pickup sends a message to a queue and returns the time from just before the send
// to the start of its handler.
func (w *world) pickup(ctx context.Context, queue string) (time.Duration, error) {
	place := w.sent
	w.sent++
	sent := stamps.Now()
	if _, err := w.db.Conn.Exec(ctx, `SELECT pgmq.send($1::text, jsonb_build_object('n', $2::int))`, queue, place); err != nil {
		return 0, fmt.Errorf("send a message: %w", err)
	}
	started, ok := w.stamps.Wait(place, patience)
	if !ok {
		return 0, fmt.Errorf("message %d in %s was not picked up", place, queue)
	}
	return time.Duration(started - sent), nil
}

// archived waits until that many messages are settled, and counts them in the
// database. None may be left.
func (w *world) archived(ctx context.Context, want int, namespaces ...namespace) error {
	var settled, left []string
	for _, n := range namespaces {
		settled = append(settled, "(SELECT count(*) FROM pgmq.a_"+n.queue()+")")
		left = append(left, "(SELECT count(*) FROM pgmq.q_"+n.queue()+")")
	}
	sql := func(of []string) string { return "SELECT " + strings.Join(of, " + ") }
	for deadline := time.Now().Add(patience); ; {
		got, err := w.db.Count(ctx, sql(settled))
		if err != nil {
			return err
		}
		over := time.Now().After(deadline)
		if got < want && !over {
			if err := wait.For(ctx, 100*time.Millisecond); err != nil {
				return err
			}
			continue
		}
		waiting, err := w.db.Count(ctx, sql(left))
		if err == nil && (got != want || waiting != 0) {
			err = fmt.Errorf("%d messages were sent, %d are settled and %d are left", want, got, waiting)
		}
		return err
	}
}

// inFlight waits until a namespace has that many steps in flight.
func (w *world) inFlight(ctx context.Context, name string, want func(int) bool) error {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		all, err := w.host.Admin.Namespaces(ctx)
		if err != nil {
			return err
		}
		for _, n := range all {
			if n.Name == name && want(n.InFlight) {
				return nil
			}
		}
		if err := wait.For(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("the steps in flight of %s are not as expected", name)
}

func (w *world) stop(ctx context.Context) error {
	var errs []error
	if w.host != nil {
		errs = append(errs, w.host.Stop(ctx))
	}
	if w.stamps != nil {
		errs = append(errs, w.stamps.Close())
	}
	if w.db != nil {
		errs = append(errs, w.db.Close(ctx))
	}
	return errors.Join(errs...)
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1e3 }

func quantiles(name string, s stat.Sample) []string {
	cells := []string{name, fmt.Sprint(len(s))}
	for _, q := range []float64{0.5, 0.9, 0.99, 1} {
		cells = append(cells, suite.Number(s.Quantile(q)))
	}
	return cells
}

var quantileHeader = []string{"", "samples", "p50", "p90", "p99", "most"}
