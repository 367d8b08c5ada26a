package host

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/stephost/stephost/host/config"
	"github.com/stephost/stephost/queues"
)

const (
	// countEvery is the time between two counts of the dead letters.
	countEvery = 30 * time.Second
	// countLimit is where a count stops: what is more is too many all the same,
	// and the count costs no more.
	countLimit = 10_000
)

// deadLetters counts the messages in the dead-letter queues, for a metric. It
// counts by the clock and not when somebody scrapes, so a scrape costs nothing
// in the database.
type deadLetters struct {
	count  func(ctx context.Context, queue string, limit int64) (int64, error)
	queues func() []string
	log    hclog.Logger
	desc   *prometheus.Desc

	end  context.CancelFunc
	loop sync.WaitGroup
	// failing are the queues that could not be counted the last time, so that it
	// is said once; it belongs to the loop.
	failing map[string]bool

	mu     sync.Mutex
	counts map[string]int64 // of the last round; a queue that could not be counted is absent
}

func newDeadLetters(count func(context.Context, string, int64) (int64, error), queues func() []string, log hclog.Logger) *deadLetters {
	return &deadLetters{
		count: count, queues: queues, log: log, end: func() {}, failing: make(map[string]bool),
		desc: prometheus.NewDesc("stephost_dead_letters", "Messages in the dead-letter queue at the last count, up to 10000.", []string{"queue"}, nil),
	}
}

// deadLetterQueues are the namespaces' dead-letter queues, each once.
func deadLetterQueues(namespaces []config.Namespace) []string {
	var names []string
	seen := make(map[string]bool, len(namespaces))
	for _, ns := range namespaces {
		if !seen[ns.DeadLetter] {
			seen[ns.DeadLetter] = true
			names = append(names, ns.DeadLetter)
		}
	}
	return names
}

func (d *deadLetters) start() {
	ctx, cancel := context.WithCancel(context.Background())
	d.end = cancel
	d.loop.Go(func() {
		ticker := time.NewTicker(countEvery)
		defer ticker.Stop()
		for {
			d.round(ctx)
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	})
}

func (d *deadLetters) stop() {
	d.end()
	d.loop.Wait()
}

func (d *deadLetters) round(ctx context.Context) {
	counts := make(map[string]int64)
	for _, queue := range d.queues() {
		n, err := d.count(ctx, queue, countLimit)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, queues.ErrQueueMissing):
			n = 0 // it is created with its first letter
		case err != nil:
			if !d.failing[queue] {
				d.log.Warn("dead letters cannot be counted", "queue", queue, "error", err)
			}
			d.failing[queue] = true
			continue
		}
		delete(d.failing, queue)
		counts[queue] = n
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts = counts
}

// Describe implements prometheus.Collector.
func (d *deadLetters) Describe(ch chan<- *prometheus.Desc) { ch <- d.desc }

// Collect implements prometheus.Collector.
func (d *deadLetters) Collect(ch chan<- prometheus.Metric) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for queue, n := range d.counts {
		ch <- prometheus.MustNewConstMetric(d.desc, prometheus.GaugeValue, float64(n), queue)
	}
}
