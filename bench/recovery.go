package bench

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jackc/pgx/v5"

	"github.com/stephost/stephost/host"
)

// Recovery is how long a killed plugin process keeps its namespace waiting:
// from the SIGKILL to the start of the next step's handler, with the default
// back-off.
type Recovery struct {
	Kills    int       `json:"kills"`
	NextStep Quantiles `json:"next_step"`
}

func recovery(ctx context.Context, conn *pgx.Conn, opts Options) (*Recovery, error) {
	// These crashes are no news.
	opts.Logger = hclog.NewNullLogger()
	latencies := make([]time.Duration, 0, opts.Kills)
	for range opts.Kills {
		settled := make(chan host.StepEvent, 1)
		err := withHost(ctx, conn, opts, settled, func(ctx context.Context, h *host.Host) error {
			latency, err := killOnce(ctx, h, conn, settled)
			latencies = append(latencies, latency)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return &Recovery{Kills: opts.Kills, NextStep: quantiles(latencies)}, nil
}

// killOnce kills the plugin of a fresh host, whose back-off has not grown yet.
func killOnce(ctx context.Context, h *host.Host, conn *pgx.Conn, settled <-chan host.StepEvent) (time.Duration, error) {
	pid, err := pluginPID(ctx, h)
	if err != nil {
		return 0, err
	}
	killed := time.Now().Round(0)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return 0, fmt.Errorf("kill the plugin: %w", err)
	}
	if _, err := conn.Exec(ctx, `SELECT pgmq.send($1::text, '{"x": 1}'::jsonb)`, queue); err != nil {
		return 0, fmt.Errorf("send a message: %w", err)
	}
	select {
	case e := <-settled:
		return e.StartedAt.Sub(killed), nil
	case <-time.After(patience):
		return 0, fmt.Errorf("no step ran within %v of a kill", patience)
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// pluginPID is the process id of the one plugin process, once it is ready.
func pluginPID(ctx context.Context, h *host.Host) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := h.WaitReady(ctx); err != nil {
		return 0, err
	}
	for _, p := range h.Status(ctx).Plugins {
		for _, i := range p.Instances {
			if i.PID > 0 {
				return i.PID, nil
			}
		}
	}
	return 0, errors.New("the plugin has no process")
}
