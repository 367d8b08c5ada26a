package growth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stephost/stephost/bench/suite/internal/stat"
	"github.com/stephost/stephost/bench/suite/internal/suite"
	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq"
)

// front is what lies before or beside the messages that a claim takes.
type front struct {
	name string
	// vt and reads are those of the rows; deleted says that they are dead, while
	// somebody holds the xmin horizon so that they stay.
	vt      string
	reads   int
	rows    int
	deleted bool
}

func (f front) queue() string { return "cost_" + f.name }
func (f front) table() string { return "pgmq.q_" + f.queue() }

// kind is one sort of claim.
type kind struct {
	name string
	// limit is what is asked for. There is more, unless new says how many messages
	// are sent for each claim.
	limit, sent int
}

// claimCost measures the host's own claims and probes on queues that differ in
// what lies in front, in turns.
func claimCost(ctx context.Context, env *suite.Env) (result suite.Result, err error) {
	n := func(full int) int { return suite.Pick(env.Form, full, full/5, full/1000) }
	fronts := []front{
		{name: "none"},
		{name: "delayed", vt: "clock_timestamp() + interval '1 hour'", rows: n(500_000)},
		{name: "inflight", vt: "clock_timestamp() + interval '1 hour'", reads: 1, rows: n(100_000)},
		{name: "dead", vt: "clock_timestamp()", rows: n(500_000), deleted: true},
	}
	turns := suite.Pick(env.Form, 60, 30, 2)
	kinds := []kind{
		{name: "1 of many", limit: 1}, {name: "100 of many", limit: 100}, {name: "1,000 of many", limit: 1000},
		{name: "all 10, asked for 1,000", limit: 1000, sent: 10}, {name: "none there", limit: 1000},
	}
	visible := 0
	for _, k := range kinds[:3] {
		visible += (turns + 2) * k.limit
	}
	db, err := env.Database(ctx)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, db.Close(ctx)) }()
	release, err := prepare(ctx, env, db, fronts, visible)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, release()) }()
	broker, err := pgmq.Open(ctx, pgmq.Options{DSN: db.DSN})
	if err != nil {
		return result, err
	}
	defer broker.Close()

	m := claimMeter{db: db, broker: broker, fronts: fronts, turns: turns, result: &result}
	for i, k := range kinds {
		if i == 3 {
			// What is left goes, so that claims come back short.
			for _, f := range fronts {
				if err := db.Exec(ctx, `DELETE FROM `+f.table()+` WHERE vt <= clock_timestamp()`); err != nil {
					return result, err
				}
			}
		}
		if err := m.measure(ctx, k); err != nil {
			return result, err
		}
	}
	if err := m.probes(ctx); err != nil {
		return result, err
	}
	for i, f := range fronts[1:] {
		result.Figures = append(result.Figures, suite.Of("claim_"+f.name, "x", m.worst[i+1]).WithGoal(suite.AtMost(2)))
	}
	result.Tables = []suite.Table{{Title: "Cost of a claim in ms, median (first of a host in parentheses)", Header: header(fronts), Rows: m.rows}}
	result.Notes = []string{"claim_… is the worst of the kinds of claims, each against the same claim of a queue with nothing in front."}
	return result, nil
}

func header(fronts []front) []string {
	names := []string{"claim"}
	for _, f := range fronts {
		names = append(names, f.name)
	}
	return names
}

// prepare makes the queues. No vacuum comes in between.
func prepare(ctx context.Context, env *suite.Env, db *suite.Database, fronts []front, visible int) (release func() error, err error) {
	for _, f := range fronts {
		if err := db.CreateQueues(ctx, f.queue()); err != nil {
			return nil, err
		}
		if err := db.Exec(ctx, `ALTER TABLE `+f.table()+` SET (autovacuum_enabled = off)`); err != nil {
			return nil, err
		}
		if f.rows > 0 {
			if err := fill(ctx, db, f.table(), f.vt, f.reads, f.rows); err != nil {
				return nil, err
			}
		}
		if err := fill(ctx, db, f.table(), "clock_timestamp()", 0, visible); err != nil {
			return nil, err
		}
	}
	if err := db.Settle(ctx); err != nil {
		return nil, err
	}
	if release, err = holdHorizon(ctx, env, db); err != nil {
		return nil, err
	}
	for _, f := range fronts {
		if !f.deleted {
			continue
		}
		if err := db.Exec(ctx, fmt.Sprintf(`DELETE FROM %s WHERE msg_id <= %d`, f.table(), f.rows), "CHECKPOINT"); err != nil {
			return nil, errors.Join(err, release())
		}
	}
	return release, nil
}

// claimMeter measures.
type claimMeter struct {
	db     *suite.Database
	broker *pgmq.Broker
	fronts []front
	turns  int
	result *suite.Result

	worst [8]stat.Sample // of each front, the ratios with the highest median
	rows  [][]string
}

// measure makes so many claims of a kind on each queue, in turns.
func (m *claimMeter) measure(ctx context.Context, k kind) error {
	took := make([]stat.Sample, len(m.fronts))
	first := make([]float64, len(m.fronts))
	for turn := range m.turns + 2 {
		for i, f := range m.fronts {
			if k.sent > 0 {
				if err := fill(ctx, m.db, f.table(), "clock_timestamp()", 0, k.sent); err != nil {
					return err
				}
			}
			ms, err := m.claim(ctx, f, k)
			if err != nil {
				return err
			}
			switch {
			case turn == 0:
				first[i] = ms
			case turn > 1:
				took[i] = append(took[i], ms)
			}
		}
	}
	row := []string{k.name}
	for i := range m.fronts {
		row = append(row, fmt.Sprintf("%s (%s)", suite.Number(took[i].Median()), suite.Number(first[i])))
		m.compare(i, stat.Ratios(took[i], took[0]))
	}
	m.rows = append(m.rows, row)
	return nil
}

func (m *claimMeter) compare(i int, ratios stat.Sample) {
	if m.worst[i] == nil || ratios.Median() > m.worst[i].Median() {
		m.worst[i] = ratios
	}
}

func (m *claimMeter) claim(ctx context.Context, f front, k kind) (ms float64, err error) {
	began := time.Now()
	got, err := m.broker.Claim(ctx, queues.ClaimRequest{Queue: f.queue(), Limit: k.limit, Lease: 2 * time.Hour})
	ms = milliseconds(time.Since(began))
	if err != nil {
		return 0, err
	}
	want := k.limit
	if k.sent > 0 || k.name == "none there" {
		want = k.sent
	}
	if len(got) != want {
		return 0, fmt.Errorf("a claim of %d from %s got %d messages instead of %d", k.limit, f.queue(), len(got), want)
	}
	return ms, nil
}

// probes measures how long the host takes to learn whether a queue has work.
func (m *claimMeter) probes(ctx context.Context) error {
	took := make([]stat.Sample, len(m.fronts))
	for range m.turns {
		for i, f := range m.fronts {
			began := time.Now()
			if _, err := m.broker.Probe(ctx, []string{f.queue()}); err != nil {
				return err
			}
			took[i] = append(took[i], milliseconds(time.Since(began)))
		}
	}
	row := []string{"(probe)"}
	for i := range m.fronts {
		row = append(row, suite.Number(took[i].Median()))
	}
	m.rows = append(m.rows, row)
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
