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
)

// TestDeadLettersAreCounted: what is shown was counted in the last round; what
// could not be counted is not shown.
func TestDeadLettersAreCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const missing, failing = -1, -2
		var world atomic.Pointer[map[string]int64]
		world.Store(&map[string]int64{"a_dead": 3, "b_dead": missing, "c_dead": failing})
		d := newDeadLetters(func(_ context.Context, queue string, limit int64) (int64, error) {
			switch n := (*world.Load())[queue]; n {
			case missing:
				return 0, &queues.MissingQueueError{Queue: queue}
			case failing:
				return 0, errors.New("no connection")
			default:
				return min(n, limit), nil
			}
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
	})
}
