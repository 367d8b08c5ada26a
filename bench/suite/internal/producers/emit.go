package producers

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/stephost/stephost/bench/suite/internal/hostproc"
	"github.com/stephost/stephost/bench/suite/internal/stat"
	"github.com/stephost/stephost/bench/suite/internal/suite"
	"github.com/stephost/stephost/plugin/sdk"
)

// PluginCommand is the first argument that makes this program the plugin that
// emits.
const PluginCommand = "emitting-plugin"

const emitted = "emitted"

type order struct {
	First, Count int
}

// PluginMain serves a handler that emits as many messages as it is told to. It
// returns the exit code.
func PluginMain() int {
	sdk.Main(sdk.HandleRaw("emit", func(ctx context.Context, in []byte) ([]byte, error) {
		var o order
		if err := json.Unmarshal(in, &o); err != nil {
			return nil, sdk.Permanent(err)
		}
		for n := range o.Count {
			if err := sdk.Emit(ctx, sdk.ToQueue(emitted), json.RawMessage(body(o.First+n))); err != nil {
				return nil, err
			}
		}
		return nil, nil
	}))
	return 0
}

// emitting compares messages that steps emit with INSERT: those of a few steps
// that emit many, so that it is emitting that is measured.
func emitting(ctx context.Context, env *suite.Env, result *suite.Result) error {
	rows := suite.Pick(env.Form, 200_000, 100_000, 600)
	var theirs, ours stat.Sample
	for range env.Rounds {
		inserts, emits, err := emitRound(ctx, env, rows, suite.Pick(env.Form, 100, 100, 20))
		if err != nil {
			return err
		}
		theirs, ours = append(theirs, inserts), append(ours, emits)
	}
	result.Figures = append(result.Figures,
		suite.Of("emit", "rows/s", ours),
		suite.Of("emit_vs_insert", "x", stat.Ratios(ours, theirs)).WithGoal(suite.AtLeast(0.8, 0)))
	return nil
}

func emitRound(ctx context.Context, env *suite.Env, rows, perStep int) (inserts, emits float64, err error) {
	db, err := env.Database(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = firstError(err, db.Close(ctx)) }()
	if err := db.CreateQueues(ctx, hostproc.Queue, hostproc.DeadQueue, emitted, "inserted"); err != nil {
		return 0, 0, err
	}
	config := hostproc.Config{DSN: db.DSN, Plugin: env.Programs.Self, Args: []string{PluginCommand}, Slots: 50}
	host, err := hostproc.Start(ctx, env, config.HCL())
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = firstError(err, host.Stop(ctx)) }()
	if _, err := host.Admin.SetPaused(ctx, hostproc.Namespace, true); err != nil {
		return 0, 0, err
	}
	steps := rows / perStep
	_, err = db.Conn.Exec(ctx, `SELECT count(*) FROM pgmq.send_batch($1::text, ARRAY(
		SELECT jsonb_build_object('First', n * $3::int, 'Count', $3::int) FROM generate_series(0, $2::int - 1) n))`, hostproc.Queue, steps, perStep)
	if err != nil {
		return 0, 0, fmt.Errorf("send the steps: %w", err)
	}
	if inserts, err = insert(ctx, db.Conn, "inserted", rows); err != nil {
		return 0, 0, err
	}
	if err := db.Settle(ctx); err != nil {
		return 0, 0, err
	}
	var began string
	if err := db.Conn.QueryRow(ctx, `SELECT clock_timestamp()::text`).Scan(&began); err != nil {
		return 0, 0, err
	}
	if _, err := host.Admin.SetPaused(ctx, hostproc.Namespace, false); err != nil {
		return 0, 0, err
	}
	if err := host.WaitSucceeded(ctx, hostproc.Namespace, steps); err != nil {
		return 0, 0, err
	}
	if err := counted(ctx, db, emitted, rows); err != nil {
		return 0, 0, err
	}
	// The clock stops with the commit of the last settlement.
	var seconds float64
	err = db.Conn.QueryRow(ctx, `SELECT extract(epoch FROM max(pg_xact_commit_timestamp(xmin)) - $1::text::timestamptz)::float8 FROM pgmq.q_`+emitted, began).Scan(&seconds)
	return inserts, float64(rows) / seconds, err
}
