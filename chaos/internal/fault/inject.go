package fault

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/stephost/stephost/chaos/internal/ledger"
	"github.com/stephost/stephost/chaos/internal/world"
	"github.com/stephost/stephost/host/admin"
	"github.com/stephost/stephost/internal/wait"
)

// signal sends a signal to all processes. One that is gone is an error.
func signal(sig syscall.Signal, pids ...int) error {
	for _, pid := range pids {
		if err := syscall.Kill(pid, sig); err != nil {
			return fmt.Errorf("send %v to process %d: %w", sig, pid, err)
		}
	}
	return nil
}

// gone tells whether a process has ended, or only its entry is left.
func gone(pid int) bool { return syscall.Kill(pid, 0) != nil }

// pluginUntil waits until the host's plugin is as wanted and returns it.
func pluginUntil(ctx context.Context, w *world.World, h *world.Host, what string, is func(admin.Plugin) bool) (admin.Plugin, error) {
	var plugin admin.Plugin
	err := w.Until(ctx, what, func() (bool, error) {
		var err error
		plugin, err = h.Plugin(ctx)
		return is(plugin), err
	})
	return plugin, err
}

// restored waits until the plugin has crashed as often and serves in full again.
func restored(ctx context.Context, w *world.World, h *world.Host, crashes int) (admin.Plugin, error) {
	what := fmt.Sprintf("the host has counted %d crashes and all instances are back", crashes)
	return pluginUntil(ctx, w, h, what, func(p admin.Plugin) bool {
		return p.Crashes >= uint64(crashes) && p.Ready == w.Instances
	})
}

// namespace asks the host for the one namespace.
func namespace(ctx context.Context, h *world.Host) (admin.Namespace, error) {
	status, err := h.Status(ctx)
	if err != nil {
		return admin.Namespace{}, err
	}
	for _, ns := range status.Namespaces {
		if ns.Name == ledger.Namespace {
			return ns, nil
		}
	}
	return admin.Namespace{}, fmt.Errorf("host %d has no namespace %s", h.Index, ledger.Namespace)
}

// send sends messages beside the load.
func send(ctx context.Context, w *world.World, messages ...ledger.Message) error {
	if err := ledger.Send(ctx, w.DB, messages...); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	for _, m := range messages {
		w.Load.Ack(m.ID)
	}
	return nil
}

// settled waits until all messages have left the queue.
func settled(ctx context.Context, w *world.World, messages ...ledger.Message) error {
	ids := make([]int64, len(messages))
	for i, m := range messages {
		ids[i] = m.ID
	}
	return w.Until(ctx, "the messages of the fault are settled", func() (bool, error) {
		var left int
		err := w.DB.QueryRow(ctx, `SELECT count(*) FROM pgmq.q_`+ledger.Queue+` WHERE (message->>'id')::bigint = ANY ($1)`, ids).Scan(&left)
		return left == 0, err
	})
}

// looped does something again and again for as long as faults are held, with a
// pause between, and counts.
func looped(ctx context.Context, w *world.World, pause time.Duration, do func(n int) error) (int, error) {
	n := 0
	for end := time.Now().Add(w.Hold); time.Now().Before(end); n++ {
		if err := do(n); err != nil {
			return n, err
		}
		if err := wait.For(ctx, pause); err != nil {
			return n, err
		}
	}
	w.Over()
	return n, nil
}

// enough is an error when a loop did so few rounds that it shows nothing.
func enough(n, least int, what string) error {
	if n < least {
		return fmt.Errorf("only %d %s, at least %d are wanted", n, what, least)
	}
	return nil
}
