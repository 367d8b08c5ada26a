package soak

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/stephost/stephost/chaos/internal/ledger"
)

func killPlugin(ctx context.Context, r *run) error { return r.crashPlugin(ctx, syscall.SIGKILL) }

// freezePlugin stops a process for good: the host has to notice that it does not
// answer, and to replace it.
func freezePlugin(ctx context.Context, r *run) error { return r.crashPlugin(ctx, syscall.SIGSTOP) }

func (r *run) crashPlugin(ctx context.Context, signal syscall.Signal) error {
	before, err := r.host(battered).Plugin(ctx)
	if err != nil {
		return err
	}
	pids, err := r.host(battered).PluginPIDs(ctx)
	if err != nil {
		return err
	}
	if len(pids) == 0 {
		return errors.New("no plugin process runs")
	}
	if err := syscall.Kill(pids[r.dice.IntN(len(pids))], signal); err != nil {
		return fmt.Errorf("send a plugin process %v: %w", signal, err)
	}
	return r.ready(ctx, battered, "has counted the crash and replaced the process", func(crashes uint64) bool {
		return crashes > before.Crashes
	})
}

func swapPlugin(ctx context.Context, r *run) error {
	_, err := r.host(battered).Admin().ReloadPlugin(ctx, "chaos")
	return err
}

// poison sends a message that ends every process it runs in, and waits until it is
// dead-lettered. The calm host takes no part: its plugins shall live on.
func poison(ctx context.Context, r *run) error {
	if err := r.setPaused(ctx, calm, true); err != nil {
		return err
	}
	m := ledger.New(r.Load.NewID(), 0)
	m.Do, m.End = ledger.Poison, ledger.Dead
	if err := ledger.Send(ctx, r.DB, m); err != nil {
		return fmt.Errorf("send the poison: %w", err)
	}
	r.Load.Ack(m.ID)
	err := r.Until(ctx, "the poison is a dead letter", func() (dead bool, err error) {
		// By now the orchestrator may have taken it.
		err = r.DB.QueryRow(ctx, `SELECT EXISTS (SELECT FROM chaos.removed WHERE place = 'dead' AND id = $1)`, m.ID).Scan(&dead)
		return dead, err
	})
	if err == nil {
		err = r.ready(ctx, battered, "has replaced what the poison has killed", func(uint64) bool { return true })
	}
	if err == nil {
		err = r.ready(ctx, mortal, "has replaced what the poison has killed", func(uint64) bool { return true })
	}
	return errors.Join(err, r.setPaused(ctx, calm, false))
}

func pause(ctx context.Context, r *run) error {
	if err := r.setPaused(ctx, battered, true); err != nil {
		return err
	}
	return errors.Join(r.sleep(ctx, r.Hold/4, r.Hold), r.setPaused(ctx, battered, false))
}

func (r *run) setPaused(ctx context.Context, p part, paused bool) error {
	_, err := r.host(p).Admin().SetPaused(ctx, ledger.Namespace, paused)
	return err
}
