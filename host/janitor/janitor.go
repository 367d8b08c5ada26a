package janitor

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stephost/stephost/internal/wait"
	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq"
)

// Kind is what a rule is about.
type Kind string

// The kinds.
const (
	Archive     Kind = "archive"      // of the queue
	DeadLetters Kind = "dead_letters" // in the queue
)

// Rule says what is kept of one queue.
type Rule struct {
	Kind  Kind
	Queue string
	// Keep has only an Age for dead letters.
	Keep pgmq.ArchiveLimits
}

const (
	// every is the time between two looks.
	every = time.Minute
	// busyPause is the time until the next look when another host was at it.
	busyPause = 2 * time.Second
	// lookShare bounds the share of time that looking takes.
	lookShare = 20
)

// Janitor keeps the rules. Its methods are safe for concurrent use.
type Janitor struct {
	broker *pgmq.Broker
	log    hclog.Logger
	wake   chan struct{}
	end    context.CancelFunc
	loop   sync.WaitGroup

	mu    sync.Mutex
	rules []Rule
	stats map[ruleKey]*ruleStats
	runs  Status
}

type ruleKey struct {
	kind  Kind
	queue string
}

// New makes a janitor; Start lets it work.
func New(broker *pgmq.Broker, rules []Rule, log hclog.Logger) *Janitor {
	j := &Janitor{broker: broker, log: log, wake: make(chan struct{}, 1)}
	j.Set(rules)
	return j
}

// Set replaces the rules. The next look is at once when they are others; what
// is being deleted by an old rule stops after its chunk.
func (j *Janitor) Set(rules []Rule) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if slices.Equal(rules, j.rules) {
		return
	}
	j.rules = slices.Clone(rules)
	kept := make(map[ruleKey]*ruleStats, len(rules))
	for _, r := range rules {
		key := ruleKey{r.Kind, r.Queue}
		if kept[key] = j.stats[key]; kept[key] == nil {
			kept[key] = &ruleStats{}
		}
	}
	j.stats = kept
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// Start begins to work until Stop. It may be called once.
func (j *Janitor) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	j.end = cancel
	j.loop.Go(func() { j.work(ctx) })
}

// Stop ends the work. It waits until the statement that is under way has been
// cancelled, which takes a second at most.
func (j *Janitor) Stop() {
	if j.end != nil {
		j.end()
		j.loop.Wait()
	}
}

func (j *Janitor) current() []Rule {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.rules
}

func (j *Janitor) work(ctx context.Context) {
	timer := time.NewTimer(every)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-j.wake: // by the first rules too
		case <-timer.C:
		}
		next := every
		if rules := j.current(); len(rules) > 0 {
			j.started()
			next = j.run(ctx, rules)
			j.ended()
		}
		timer.Reset(next)
	}
}

// run makes one pass for each rule and tells when to look again.
func (j *Janitor) run(ctx context.Context, rules []Rule) (next time.Duration) {
	began := time.Now()
	passes, err := j.begin(ctx, rules)
	next = max(every, lookShare*time.Since(began))
	for err == nil && len(passes) > 0 {
		passes, err = j.round(ctx, passes)
	}
	if errors.Is(err, pgmq.ErrPruning) {
		return busyPause
	}
	return next
}

// pass is the work of one rule in one run.
type pass struct {
	rule Rule
	*pgmq.Pass
	deleted int64
}

// begin decides what is to go. A rule that fails is left out.
func (j *Janitor) begin(ctx context.Context, rules []Rule) (passes []*pass, err error) {
	for _, r := range rules {
		var p *pgmq.Pass
		var err error
		if r.Kind == DeadLetters {
			p, err = j.broker.PruneDeadLetters(ctx, r.Queue, r.Keep.Age)
		} else {
			p, err = j.broker.PruneArchive(ctx, r.Queue, r.Keep)
		}
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, pgmq.ErrPruning):
			return passes, err
		case errors.Is(err, queues.ErrQueueMissing):
			// Its namespace waits and says so.
		case err != nil:
			j.failed(r, err)
		default:
			passes = append(passes, &pass{rule: r, Pass: p})
		}
	}
	return passes, nil
}

// round deletes one chunk for each pass, so that none waits for another to end,
// and returns those that have more to do.
func (j *Janitor) round(ctx context.Context, passes []*pass) (left []*pass, err error) {
	for _, p := range passes {
		if !slices.Contains(j.current(), p.rule) {
			continue
		}
		size := j.chunk(p.rule)
		began := time.Now()
		deleted, more, err := p.Delete(ctx, size.rows)
		took := time.Since(began)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, pgmq.ErrPruning):
			return nil, err
		case err != nil:
			j.resize(p.rule, size.smaller())
			j.failed(p.rule, err)
			continue
		}
		p.deleted += deleted
		j.deleted(p.rule, deleted)
		j.resize(p.rule, size.after(took))
		if !more {
			j.passed(p)
			continue
		}
		left = append(left, p)
		if err := wait.For(ctx, pause(took)); err != nil {
			return nil, err
		}
	}
	return left, nil
}
