package many

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stephost/stephost/bench/suite/internal/suite"
	"github.com/stephost/stephost/internal/procmem"
	"github.com/stephost/stephost/internal/wait"
)

func memory(ctx context.Context, env *suite.Env) (result suite.Result, err error) {
	queued := suite.Pick(env.Form, 5_000_000, 200_000, 100)
	slots := suite.Pick(env.Form, 1000, 1000, 10)
	span := suite.Pick(env.Form, 30*time.Second, 10*time.Second, 100*time.Millisecond)
	handler := time.Second
	ns := namespace{name: "bench", plugin: "bench", concurrency: slots}
	w, err := start(ctx, env, []namespace{ns}, 1, fmt.Sprintf("max_concurrent_processors = %d\nfallback_poller { batch_size = 500 }", slots), func(w *world) error {
		return w.db.Exec(ctx, fmt.Sprintf(`INSERT INTO pgmq.q_%s (vt, message)
			SELECT clock_timestamp(), jsonb_build_object('step', 'sleep', 'ms', %d, 'pad', repeat('x', 150)) FROM generate_series(1, %d)`,
			ns.queue(), handler.Milliseconds(), queued))
	})
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, w.stop(ctx)) }()
	if err := w.inFlight(ctx, ns.name, func(n int) bool { return n >= slots*9/10 }); err != nil {
		return result, err
	}
	if err := wait.For(ctx, span); err != nil {
		return result, err
	}
	memory, err := procmem.Of(w.host.PID())
	if err != nil {
		return result, err
	}
	if _, err := w.host.Admin.SetPaused(ctx, ns.name, true); err != nil {
		return result, err
	}
	if err := w.inFlight(ctx, ns.name, func(n int) bool { return n == 0 }); err != nil {
		return result, err
	}
	// What was in flight may be on its way into the archive still: one snapshot.
	var settled, left int
	err = w.db.Conn.QueryRow(ctx, `SELECT (SELECT count(*) FROM pgmq.a_`+ns.queue()+`), (SELECT count(*) FROM pgmq.q_`+ns.queue()+`)`).Scan(&settled, &left)
	if err != nil {
		return result, err
	}
	if settled+left != queued {
		return result, fmt.Errorf("%d messages were queued, %d are settled and %d are left", queued, settled, left)
	}
	result.Figures = []suite.Figure{
		suite.Figure{Name: "host_rss_5m", Unit: "MB", Value: float64(memory.Peak) / 1e6}.WithGoal(suite.AtMost(64)),
		{Name: "host_rss_5m_end", Unit: "MB", Value: float64(memory.Resident) / 1e6},
	}
	result.Notes = []string{fmt.Sprintf("memory: %d messages queued, %d slots full of handlers that take %v, %d steps settled; host_rss_5m is the peak of the host's process from its start, its plugin's not included",
		queued, slots, handler, settled)}
	return result, nil
}
