package sdktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/plugin/sdk"
	"github.com/stephost/stephost/plugin/sdk/internal/inproc"
)

// TB is what a Host needs of a test: *testing.T, *testing.B and *testing.F have
// it. Fatalf must end the goroutine that calls it.
type TB interface {
	Helper()
	Cleanup(func())
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

const (
	// startTimeout is how long a plugin may take to describe and configure
	// itself.
	startTimeout = 30 * time.Second
	// killTimeout is the default of a host's kill_timeout: how long a handler
	// may go on after its context has ended.
	killTimeout = 5 * time.Second
)

// Host stands in for the host: it has started one plugin and gives it steps, any
// number at once. Its methods are for the goroutine that runs the test, since
// they end the test where something is wrong with it.
type Host struct {
	t           TB
	server      *sdk.Server
	conn        *inproc.Connection
	logs        *logWriter
	description *pluginv1.DescribeResponse
	stream      *stream

	mu     sync.Mutex
	lastID int64

	stopping sync.Once
}

// Start starts a plugin that needs no configuration, as [sdk.Main] serves it.
// The plugin is stopped when the test ends.
func Start(t TB, plugin *sdk.Plugin, opts ...Option) *Host {
	t.Helper()
	return start(t, func(logger hclog.Logger) *sdk.Server { return sdk.NewServer(plugin, logger) }, opts)
}

// StartWith starts a plugin that setup makes from its configuration, as
// [sdk.MainWith] serves it. The block is what [Config] says; a plugin that does
// not take it fails the test with the diagnostics that the host would print.
// The plugin is stopped when the test ends.
func StartWith[C any](t TB, setup func(ctx context.Context, config C) (*sdk.Plugin, error), opts ...Option) *Host {
	t.Helper()
	return start(t, func(logger hclog.Logger) *sdk.Server { return sdk.NewServerWith(setup, logger) }, opts)
}

func start(t TB, serve func(hclog.Logger) *sdk.Server, opts []Option) *Host {
	t.Helper()
	h, refused := launch(t, serve, opts)
	if refused != "" {
		t.Fatalf("the plugin does not start:\n%s", refused)
	}
	return h
}

// launch starts a plugin and configures it. refused is what the host would
// print if it does not come up.
func launch(t TB, serve func(hclog.Logger) *sdk.Server, opts []Option) (h *Host, refused string) {
	t.Helper()
	s := newSettings(opts)
	h = &Host{t: t, logs: &logWriter{t: t}}
	h.server = serve(hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: h.logs, DisableTime: true}))
	conn, err := inproc.Serve(h.server.Register)
	if err != nil {
		t.Fatalf("serve the plugin: %v", err)
	}
	h.conn = conn
	t.Cleanup(func() {
		t.Helper()
		if err := h.Stop(); err != nil {
			t.Errorf("stop the plugin: %v", err)
		}
		h.logs.close()
	})
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	refused, err = h.configure(ctx, s)
	if err != nil {
		t.Fatalf("start the plugin: %v", err)
	}
	if refused != "" {
		return h, refused
	}
	if h.stream, err = openStream(conn.Client); err != nil {
		t.Fatalf("start the plugin: %v", err)
	}
	return h, ""
}

// configure takes the plugin from its start to where it takes steps.
func (h *Host) configure(ctx context.Context, s settings) (refused string, err error) {
	client := h.conn.Client
	described, err := client.Describe(ctx, &pluginv1.DescribeRequest{HostVersion: "sdktest"})
	if err != nil {
		return "", fmt.Errorf("describe: %w", err)
	}
	block := readBlock(described.GetName(), s)
	value, refused := block.decode(described.GetConfig())
	if refused != "" {
		return refused, nil
	}
	configured, err := client.Configure(ctx, &pluginv1.ConfigureRequest{
		Config: value, Plugin: described.GetName(), LogLevel: "trace",
	})
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("configure: setup has not returned after %s", startTimeout)
	case err != nil:
		return "", fmt.Errorf("configure: %w", err)
	}
	if refused := block.locate(described.GetConfig(), configured.GetDiagnostics()); refused != "" {
		return refused, nil
	}
	h.description = protocol.Configured(described, configured)
	health, err := client.Health.Check(ctx, &healthpb.HealthCheckRequest{})
	switch {
	case err != nil:
		return "", fmt.Errorf("health check: %w", err)
	case health.GetStatus() != healthpb.HealthCheckResponse_SERVING:
		return "", fmt.Errorf("health check: the plugin is %s", health.GetStatus())
	}
	return "", nil
}

// Drain begins what a host does when it stops: steps that have not started come
// back as [NotAccepted], running ones go on, and the plugin gets no more. It
// does not wait; each step's Wait does.
func (h *Host) Drain() {
	h.t.Helper()
	if err := h.stream.drain(); err != nil {
		h.t.Fatalf("drain: %v", err)
	}
}

// Stop ends the plugin as a host does that cannot wait: it drains, cancels what
// still runs with [sdk.ErrDraining], waits for it, ends the context that setup
// got, and runs the [sdk.OnClose] functions. It returns what went wrong in
// those; called again, it does nothing and returns nil. The end of the test
// calls it, and fails the test for an error that nobody has seen.
func (h *Host) Stop() error {
	h.t.Helper()
	var err error
	h.stopping.Do(func() { err = h.stop() })
	return err
}

func (h *Host) stop() error {
	var errs []error
	if h.stream != nil {
		// The last first: those that have not started are given back rather than
		// started in the place of one that ends.
		running := h.stream.running()
		for _, s := range slices.Backward(running) {
			errs = append(errs, s.cancel(pluginv1.CancelReason_CANCEL_REASON_DRAINING))
		}
		errs = append(errs, h.stream.drain())
		for _, s := range running {
			select {
			case <-s.done:
			case <-s.overdue:
				errs = append(errs, errors.New(s.ignored()))
			}
		}
	}
	return errors.Join(append(errs, h.close())...)
}

// close ends the plugin once nothing runs in it. Nobody can end a function of
// the plugin that hangs: the test goes on without it.
func (h *Host) close() error {
	closed := make(chan error, 1)
	go func() {
		var err error
		if h.stream != nil {
			err = h.stream.wait()
		}
		closed <- errors.Join(err, h.conn.Close(), h.server.Close())
	}()
	select {
	case err := <-closed:
		return err
	case <-time.After(killTimeout):
		return fmt.Errorf("the plugin still runs %s after it should have stopped: a handler, setup or an OnClose function hangs", killTimeout)
	}
}

// resolve finds the step that a message goes to as a host does: by its name,
// else to the default.
func (h *Host) resolve(name string) string {
	h.t.Helper()
	var known []string
	for _, s := range h.description.GetSteps() {
		if s.GetName() == name || name == "" && s.GetDefault() {
			return s.GetName()
		}
		known = append(known, s.GetName())
	}
	slices.Sort(known)
	if name == "" {
		h.t.Fatalf("the message names no step and the plugin has no default: it has %s", strings.Join(known, ", "))
	}
	h.t.Fatalf("the plugin has no step %q: it has %s", name, strings.Join(known, ", "))
	return ""
}
