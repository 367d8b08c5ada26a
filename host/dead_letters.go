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
	"github.com/stephost/stephost/queues/pgmq"
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
	count  func(ctx context.Context, queues []string, limit int64) ([]pgmq.QueueCount, error)
	queues func() []string
	log    hclog.Logger
	desc   *prometheus.Desc

	end  context.CancelFunc
	loop sync.WaitGroup
	// failing are the queues that could not be counted the last time, and
	// unanswered is whether the database was to blame, so that it is said once;
	// both belong to the loop.
	failing    map[string]bool
	unanswered bool

	mu     sync.Mutex
	counts map[string]int64 // of the last round; a queue that could not be counted is absent
}

func newDeadLetters(count func(context.Context, []string, int64) ([]pgmq.QueueCount, error), queues func() []string, log hclog.Logger) *deadLetters {
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
	answers, err := d.count(ctx, d.queues(), countLimit)
	if ctx.Err() != nil {
		return
	}
	if err != nil && !d.unanswered {
		d.log.Warn("dead letters cannot be counted", "error", err)
	}
	d.unanswered = err != nil
	counts := make(map[string]int64, len(answers))
	for _, c := range answers {
		if c.Err != nil && !errors.Is(c.Err, queues.ErrQueueMissing) { // that is created with its first letter
			if !d.failing[c.Queue] {
				d.log.Warn("dead letters cannot be counted", "queue", c.Queue, "error", c.Err)
			}
			d.failing[c.Queue] = true
			continue
		}
		delete(d.failing, c.Queue)
		counts[c.Queue] = c.Messages
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
