// Package audit tells from the tables alone what became of the messages of a
// chaos run. It shares no code with the host: what was sent and what ran it
// knows from the ledger, what became of it from the queue, the archive, the dead
// letters and the results as they stand in the database.
//
// A message is settled in exactly one place, the archive or the dead letters,
// and exactly one result tells of it. Everything else is found here:
//
//   - lost: it was committed, or its sender was told so, and it has no place,
//     no result, or is still in the queue; or what it emitted was not sent;
//   - settled twice: it has more than one place, or more than one result, or what
//     it emitted was sent twice;
//   - stray: a result, a place or an execution of what was never sent; or what a
//     message emitted that has not succeeded;
//   - contradiction: the place says another end than the result;
//   - misjudged: it ended well and should not have, or the other way round;
//   - never ran: it succeeded, and no execution did;
//   - unearned: more failures are counted, in its attempts or in its record, than
//     executions of it failed.
//
// Two more are no breach of the promise by themselves; a fault says whether it
// may cause them: executed again, an execution of an attempt that had been
// executed before, and late, an execution that began after the settlement was
// committed.
package audit

import (
	"context"
	_ "embed"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Report is what was found. Counts are of messages, but for Results, Stray and
// Executions and ExecutedAgain, which count themselves.
type Report struct {
	Messages, Results, Executions int

	Lost, SettledTwice                                  int
	Stray, Contradictory, Misjudged, NeverRan, Unearned int

	ExecutedAgain, Late int
	// DeadLetters are the messages that ended there, as they should or not.
	DeadLetters int
	// Pickup is the longest time from the commit of a send, or from when it was
	// due where it was delayed, to the start of its first execution.
	Pickup time.Duration

	// Examples has up to five messages of each kind of finding, for people.
	Examples map[string]string
}

// Breaches lists what must not be, as words; empty: the promise was kept.
func (r Report) Breaches() []string {
	var all []string
	for _, b := range []struct {
		count int
		name  string
	}{
		{r.Lost, "lost"}, {r.SettledTwice, "settled twice"}, {r.Stray, "stray"}, {r.Contradictory, "contradictory"},
		{r.Misjudged, "misjudged"}, {r.NeverRan, "never ran"}, {r.Unearned, "unearned"},
	} {
		if b.count > 0 {
			all = append(all, fmt.Sprintf("%d %s (%s)", b.count, b.name, r.Examples[b.name]))
		}
	}
	return all
}

//go:embed audit.sql
var statements string

// Run audits the database. It sees one moment of it.
func Run(ctx context.Context, conn *pgx.Conn) (Report, error) {
	r := Report{Examples: map[string]string{}}
	err := pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		for _, statement := range strings.Split(statements, "\n;\n") {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return fmt.Errorf("%w in %.60q", err, statement)
			}
		}
		return r.read(ctx, tx)
	})
	if err != nil {
		return r, fmt.Errorf("audit: %w", err)
	}
	return r, nil
}

func (r *Report) read(ctx context.Context, tx pgx.Tx) error {
	counts := map[string]*int{
		"lost": &r.Lost, "settled twice": &r.SettledTwice, "stray": &r.Stray, "contradictory": &r.Contradictory,
		"misjudged": &r.Misjudged, "never ran": &r.NeverRan, "unearned": &r.Unearned,
		"executed again": &r.ExecutedAgain, "late": &r.Late,
	}
	rows, err := tx.Query(ctx, `
		SELECT kind, sum(count)::int,
			array_to_string((array_agg(coalesce(id::text, '?') || coalesce(' ' || detail, '') ORDER BY id))[:5], ', ')
		FROM finding GROUP BY kind`)
	if err != nil {
		return err
	}
	var kind, examples string
	var count int
	_, err = pgx.ForEachRow(rows, []any{&kind, &count, &examples}, func() error {
		into := counts[kind]
		if into == nil {
			return fmt.Errorf("unknown finding %q", kind)
		}
		*into, r.Examples[kind] = count, examples
		return nil
	})
	if err != nil {
		return err
	}
	var pickup float64
	err = tx.QueryRow(ctx, `
		SELECT (SELECT count(*) FROM message), (SELECT count(*) FROM result), (SELECT count(*) FROM chaos.execution),
			(SELECT count(*) FROM message WHERE dead > 0),
			coalesce((SELECT max(extract(epoch FROM first_start - due_at)) FROM message), 0)::float8`,
	).Scan(&r.Messages, &r.Results, &r.Executions, &r.DeadLetters, &pickup)
	r.Pickup = time.Duration(pickup * float64(time.Second))
	return err
}
