package host

import (
	"context"
	"errors"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq"
)

// TestDeadLettersAreCounted: what is shown was counted in the last round; what
// could not be counted is not shown.
func TestDeadLettersAreCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const missing, failing = -1, -2
		var world atomic.Pointer[map[string]int64]
		world.Store(&map[string]int64{"a_dead": 3, "b_dead": missing, "c_dead": failing})
		var down atomic.Bool
		d := newDeadLetters(func(_ context.Context, names []string, limit int64) (counts []pgmq.QueueCount, err error) {
			if down.Load() {
				return nil, errors.New("no connection")
			}
			for _, queue := range names {
				switch n := (*world.Load())[queue]; n {
				case missing:
					counts = append(counts, pgmq.QueueCount{Queue: queue, Err: &queues.MissingQueueError{Queue: queue}})
				case failing:
					counts = append(counts, pgmq.QueueCount{Queue: queue, Err: errors.New("it is locked")})
				default:
					counts = append(counts, pgmq.QueueCount{Queue: queue, Messages: min(n, limit)})
				}
			}
			return counts, nil
		}, func() []string { return slices.Collect(maps.Keys(*world.Load())) }, hclog.NewNullLogger())
		shows := func(lines ...string) {
			t.Helper()
			synctest.Wait()
			reg := prometheus.NewRegistry()
			reg.MustRegister(d)
			answer := httptest.NewRecorder()
			promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
			var shown []string
			for line := range strings.Lines(answer.Body.String()) {
				if !strings.HasPrefix(line, "#") {
					shown = append(shown, strings.TrimSpace(line))
				}
			}
			require.Equal(t, lines, shown)
		}
		d.start()
		defer d.stop()
		shows(`stephost_dead_letters{queue="a_dead"} 3`, `stephost_dead_letters{queue="b_dead"} 0`)
		world.Store(&map[string]int64{"a_dead": 20_000, "d_dead": 1})
		time.Sleep(countEvery)
		shows(`stephost_dead_letters{queue="a_dead"} 10000`, `stephost_dead_letters{queue="d_dead"} 1`)
		down.Store(true)
		time.Sleep(countEvery)
		shows()
	})
}
