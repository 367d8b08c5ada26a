// Package hostproc runs a host in a process of its own, as users run it.
package hostproc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/stephost/stephost/bench/suite/internal/suite"
	"github.com/stephost/stephost/host/admin"
)

// patience bounds each wait for a host.
const patience = time.Minute

// Host is a running `stephost run`.
type Host struct {
	cmd   *exec.Cmd
	ended chan struct{} // when it is closed, cmd.ProcessState says how
	log   string
	// Admin asks it.
	Admin *admin.Client
	// Addr is where its admin endpoint is, as host:port.
	Addr string
}

// serves is the line of a host that is up.
var serves = regexp.MustCompile(`host serves: .*admin=(\S+)`)

var started atomic.Int64

// Start writes the configuration, runs the host with it and waits until all its
// plugins are ready. The configuration must let the admin endpoint listen on
// 127.0.0.1:0 and have log_level "info".
func Start(ctx context.Context, env *suite.Env, config string) (_ *Host, err error) {
	name := filepath.Join(env.Dir, fmt.Sprintf("host-%d", started.Add(1)))
	h := &Host{ended: make(chan struct{}), log: name + ".log"}
	if err := os.WriteFile(name+".hcl", []byte(config), 0o600); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(h.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	h.cmd = exec.Command(env.Programs.Stephost, "run", "--config", name+".hcl")
	h.cmd.Stdout, h.cmd.Stderr = log, log
	h.cmd.SysProcAttr = attributes()
	if err := h.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the host: %w", err)
	}
	go func() {
		defer close(h.ended)
		_ = h.cmd.Wait()
	}()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := h.waitReady(ctx); err != nil {
		said, _ := os.ReadFile(h.log)
		return nil, errors.Join(fmt.Errorf("start the host: %w: %s", err, lastBytes(said, 2000)), h.kill())
	}
	return h, nil
}

func (h *Host) waitReady(ctx context.Context) error {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		if ready, err := h.ready(ctx); ready || err != nil {
			return err
		}
		select {
		case <-h.ended:
			return errors.New("it exited")
		case <-ctx.Done():
			return fmt.Errorf("wait for its plugins: %w", context.Cause(ctx))
		case <-ticker.C:
		}
	}
}

func (h *Host) ready(ctx context.Context) (bool, error) {
	if h.Admin == nil {
		said, err := os.ReadFile(h.log)
		if err != nil {
			return false, err
		}
		found := serves.FindSubmatch(said)
		if found == nil {
			return false, nil
		}
		h.Addr = string(found[1])
		if h.Admin, err = admin.NewClient(h.Addr, ""); err != nil {
			return false, err
		}
	}
	plugins, err := h.Admin.Plugins(ctx)
	if err != nil {
		return false, nil //nolint:nilerr // asked again until ctx ends
	}
	for _, p := range plugins {
		if p.State != "ready" {
			return false, nil
		}
	}
	return true, nil
}

// PID is the host's process. Its shims and plugins are below it.
func (h *Host) PID() int { return h.cmd.Process.Pid }

// Succeeded is how many steps of a namespace have succeeded, as the host counts
// them once they are settled.
func (h *Host) Succeeded(ctx context.Context, namespace string) (int, error) {
	namespaces, err := h.Admin.Namespaces(ctx)
	if err != nil {
		return 0, err
	}
	for _, n := range namespaces {
		if n.Name == namespace {
			return int(n.Succeeded), nil //nolint:gosec // a count of steps
		}
	}
	return 0, fmt.Errorf("the host has no namespace %q", namespace)
}

// WaitSucceeded waits until that many steps have succeeded. It asks every 50 ms,
// which costs nothing that could be measured, so it tells when to look and not how
// long it took.
func (h *Host) WaitSucceeded(ctx context.Context, namespace string, steps int) error {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		n, err := h.Succeeded(ctx, namespace)
		if err != nil || n >= steps {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d steps were settled: %w", n, steps, context.Cause(ctx))
		case <-ticker.C:
		}
	}
}

// Stop drains the host and waits for its end.
func (h *Host) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := h.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return errors.Join(fmt.Errorf("stop the host: %w", err), h.kill())
	}
	select {
	case <-h.ended:
	case <-ctx.Done():
		return errors.Join(errors.New("the host did not stop"), h.kill())
	}
	if code := h.cmd.ProcessState.ExitCode(); code != 0 {
		said, _ := os.ReadFile(h.log)
		return fmt.Errorf("the host exited with %d: %s", code, lastBytes(said, 2000))
	}
	return nil
}

func (h *Host) kill() error {
	err := h.cmd.Process.Kill()
	<-h.ended
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

func lastBytes(text []byte, n int) []byte { return bytes.TrimSpace(text[max(0, len(text)-n):]) }
