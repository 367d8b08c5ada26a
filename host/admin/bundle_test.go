package admin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/eventsystem"
	"github.com/stephost/stephost/host/admin"
	"github.com/stephost/stephost/plugin/protocol"
)

// fakeHost is a Controller with two namespaces whose answers a test sets.
type fakeHost struct {
	mu        sync.Mutex
	status    admin.Status
	stuck     []string
	unready   []string
	modeErr   error
	config    admin.Reload
	configErr error
	reloadErr error
	panicked  bool
}

func newFakeHost() *fakeHost {
	return &fakeHost{status: admin.Status{
		Host:   admin.Host{ID: "worker-1", Version: "v1", PID: 42, Uptime: admin.Seconds(1500 * time.Millisecond)},
		Health: admin.Health{Status: "Healthy"},
		Namespaces: []admin.Namespace{
			{Name: "orders", Plugin: "orders", Queue: "orders_queue", Concurrency: 50, OldestWait: admin.Seconds(250 * time.Millisecond)},
			{Name: "pay/ments", Plugin: "orders", Queue: "payments_queue", Concurrency: 20},
		},
		Plugins: []admin.Plugin{{Name: "orders", State: "ready", Instances: []admin.Instance{{PID: 43, State: "ready"}}}},
	}}
}

func (h *fakeHost) with(change func(h *fakeHost)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change(h)
}

func (h *fakeHost) Status(context.Context) admin.Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.panicked {
		panic("secret detail")
	}
	status := h.status
	status.Namespaces = append([]admin.Namespace(nil), h.status.Namespaces...)
	return status
}

func (h *fakeHost) Live(context.Context) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stuck
}

func (h *fakeHost) Ready(context.Context) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.unready
}

func (h *fakeHost) SetMode(_ context.Context, mode eventsystem.Mode) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.modeErr != nil {
		return h.modeErr
	}
	h.status.Mode, h.status.ModeOverride = mode, true
	return nil
}

func (h *fakeHost) SetPaused(_ context.Context, namespace string, paused bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.status.Namespaces {
		if h.status.Namespaces[i].Name == namespace {
			h.status.Namespaces[i].Paused = paused
			return nil
		}
	}
	return fmt.Errorf("namespace %q: %w", namespace, admin.ErrNotFound)
}

func (h *fakeHost) ResetPlugin(_ context.Context, name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.status.Plugins {
		if h.status.Plugins[i].Name == name {
			if h.status.Plugins[i].State == "stopped" {
				return fmt.Errorf("%w: the plugin is stopped", admin.ErrConflict)
			}
			h.status.Plugins[i].State = "starting"
			return nil
		}
	}
	return fmt.Errorf("plugin %q: %w: this host has orders", name, admin.ErrNotFound)
}

func (h *fakeHost) Reload(context.Context) (admin.Reload, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.config, h.configErr
}

func (h *fakeHost) AttachPlugin(_ context.Context, name string, to protocol.Attachment) (admin.Swap, error) {
	if name != "orders" {
		return admin.Swap{}, fmt.Errorf("attach: %w: only dev does", admin.ErrForbidden)
	}
	return admin.Swap{Plugin: name, New: admin.PluginVersion{Generation: 3, PIDs: []int{to.PID}}}, nil
}

func (h *fakeHost) ReloadPlugin(_ context.Context, name string) (admin.Swap, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if name != "orders" {
		return admin.Swap{}, fmt.Errorf("plugin %q: %w: this host has orders", name, admin.ErrNotFound)
	}
	if h.reloadErr != nil {
		return admin.Swap{}, h.reloadErr
	}
	return admin.Swap{
		Plugin: name, Took: admin.Seconds(40 * time.Millisecond),
		Old: admin.PluginVersion{Generation: 1, Version: "1.0.0", PIDs: []int{43}},
		New: admin.PluginVersion{Generation: 2, Version: "1.1.0", PIDs: []int{44}},
	}, nil
}

type bundle struct {
	host   *fakeHost
	server *admin.Server
	client *admin.Client
}

// setup starts a server on a free loopback port.
func setup(t *testing.T, token string) *bundle {
	t.Helper()
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "stephost_test_total", Help: "A counter."})
	registry.MustRegister(counter)
	counter.Inc()

	host := newFakeHost()
	server, err := admin.New(admin.Options{
		Listen: "127.0.0.1:0", Token: token, Controller: host,
		Gatherer: registry, Logger: hclog.NewNullLogger(),
	})
	require.NoError(t, err)
	require.NoError(t, server.Start(t.Context()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(t, server.Shutdown(ctx))
	})
	client, err := admin.NewClient(server.Addr(), token)
	require.NoError(t, err)
	return &bundle{host: host, server: server, client: client}
}

type reply struct {
	code   int
	header http.Header
	body   string
}

func (r reply) error(t *testing.T) string {
	t.Helper()
	var body map[string]string
	require.NoError(t, json.Unmarshal([]byte(r.body), &body), r.body)
	require.Len(t, body, 1)
	require.Equal(t, "application/json", r.header.Get("Content-Type"))
	return body["error"]
}

// do sends a request; the headers are pairs of name and value, and Host is the
// request's host.
func (b *bundle) do(t *testing.T, method, path, body string, headers ...string) reply {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://"+b.server.Addr()+path, strings.NewReader(body))
	require.NoError(t, err)
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			request.Host = headers[i+1]
			continue
		}
		request.Header.Set(headers[i], headers[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	require.NoError(t, err)
	defer func() { require.NoError(t, response.Body.Close()) }()
	data, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return reply{code: response.StatusCode, header: response.Header, body: string(data)}
}
