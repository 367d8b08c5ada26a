package producers

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"time"

	"github.com/stephost/stephost/bench/suite/internal/stat"
	"github.com/stephost/stephost/bench/suite/internal/suite"
)

// sending compares `stephost queue send` with INSERT. The program's start is
// part of it.
func sending(ctx context.Context, env *suite.Env, result *suite.Result) error {
	rows := suite.Pick(env.Form, 200_000, 100_000, 600)
	var lines bytes.Buffer
	for n := range rows {
		lines.WriteString(body(n) + "\n")
	}
	var theirs, ours stat.Sample
	for range env.Rounds {
		inserts, sends, err := sendRound(ctx, env, lines.Bytes(), rows)
		if err != nil {
			return err
		}
		theirs, ours = append(theirs, inserts), append(ours, sends)
	}
	result.Figures = append(result.Figures,
		suite.Of("insert", "rows/s", theirs),
		suite.Of("send", "rows/s", ours),
		suite.Of("send_vs_insert", "x", stat.Ratios(ours, theirs)).WithGoal(suite.AtLeast(0.8, 0)))
	return nil
}

func sendRound(ctx context.Context, env *suite.Env, lines []byte, rows int) (inserts, sends float64, err error) {
	db, err := env.Database(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = firstError(err, db.Close(ctx)) }()
	if err := db.CreateQueues(ctx, "inserted", "sent"); err != nil {
		return 0, 0, err
	}
	if err := db.Settle(ctx); err != nil {
		return 0, 0, err
	}
	if inserts, err = insert(ctx, db.Conn, "inserted", rows); err != nil {
		return 0, 0, err
	}
	send := exec.CommandContext(ctx, env.Programs.Stephost, "queue", "send", "sent", "--dsn", db.DSN)
	send.Stdin = bytes.NewReader(lines)
	began := time.Now()
	if said, err := send.CombinedOutput(); err != nil {
		return 0, 0, fmt.Errorf("queue send: %w: %s", err, said)
	}
	return inserts, float64(rows) / time.Since(began).Seconds(), counted(ctx, db, "sent", rows)
}

func counted(ctx context.Context, db *suite.Database, queue string, rows int) error {
	n, err := db.Count(ctx, `SELECT count(*) FROM pgmq.q_`+queue)
	if err == nil && n != rows {
		err = fmt.Errorf("%d of %d messages are in queue %q", n, rows, queue)
	}
	return err
}
