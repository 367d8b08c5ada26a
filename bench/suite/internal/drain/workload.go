package drain

import (
	"context"
	"fmt"
	"time"

	"github.com/stephost/stephost/bench/suite/internal/hostproc"
	"github.com/stephost/stephost/bench/suite/internal/suite"
)

// bodySize is about the size of a step's body in bytes.
const bodySize = 200

// workload is the queue that a contender empties.
type workload interface {
	create(ctx context.Context, db *suite.Database) error
	fill(ctx context.Context, db *suite.Database, steps int) error
	// verify fails unless exactly so many steps are settled and none is left.
	verify(ctx context.Context, db *suite.Database, steps int) error
	// lastCommit is when the last settlement was committed.
	lastCommit(ctx context.Context, db *suite.Database) (time.Time, error)
}

// pgmqQueue is a queue of pgmq's.
type pgmqQueue struct {
	// deleted says that settled steps are dropped and not archived, results that
	// each yields a message in the queue of results.
	deleted, results bool
}

const (
	table        = "pgmq.q_" + hostproc.Queue
	archiveTable = "pgmq.a_" + hostproc.Queue
	resultTable  = "pgmq.q_" + hostproc.ResultQueue
)

func (pgmqQueue) create(ctx context.Context, db *suite.Database) error {
	return db.CreateQueues(ctx, hostproc.Queue, hostproc.DeadQueue, hostproc.ResultQueue)
}

// fill inserts all steps in one statement, due one after the other.
func (pgmqQueue) fill(ctx context.Context, db *suite.Database, steps int) error {
	_, err := db.Conn.Exec(ctx, `INSERT INTO `+table+` (vt, message)
		SELECT clock_timestamp(), jsonb_build_object('n', n, 'pad', repeat('x', $1::int))
		FROM generate_series(1, $2::int) n`, bodySize-20, steps)
	if err != nil {
		return fmt.Errorf("queue %d steps: %w", steps, err)
	}
	return nil
}

func (q pgmqQueue) verify(ctx context.Context, db *suite.Database, steps int) error {
	want := map[string]int{table: 0, archiveTable: steps, resultTable: 0}
	if q.deleted {
		want[archiveTable] = 0
	}
	if q.results {
		want[resultTable] = steps
	}
	for name, n := range want {
		got, err := db.Count(ctx, `SELECT count(*) FROM `+name)
		if err != nil {
			return err
		}
		if got != n {
			return fmt.Errorf("the database counts %d rows in %s instead of %d", got, name, n)
		}
	}
	return nil
}

func (q pgmqQueue) lastCommit(ctx context.Context, db *suite.Database) (time.Time, error) {
	if q.deleted {
		return commitTime(ctx, db, `SELECT timestamp FROM pg_last_committed_xact()`)
	}
	return commitTime(ctx, db, `SELECT max(pg_xact_commit_timestamp(xmin)) FROM `+archiveTable)
}

func commitTime(ctx context.Context, db *suite.Database, sql string) (at time.Time, err error) {
	if err := db.Conn.QueryRow(ctx, sql).Scan(&at); err != nil {
		return at, fmt.Errorf("ask for the time of the last commit: %w", err)
	}
	return at, nil
}
