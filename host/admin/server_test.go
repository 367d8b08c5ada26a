package admin_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/admin"
)

func TestRefusesToListenBeyondLoopbackWithoutToken(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		listen, token string
		refused       bool
	}{
		{"127.0.0.1:0", "", false},
		{"127.8.8.8:0", "", false},
		{"[::1]:0", "", false},
		{"localhost:0", "", false},
		{":0", "", true},
		{"0.0.0.0:0", "", true},
		{"[::]:0", "", true},
		{"192.0.2.1:0", "", true},
		{"admin.example.com:0", "", true},
		{":0", "secret", false},
	} {
		t.Run(test.listen+" "+test.token, func(t *testing.T) {
			t.Parallel()
			_, err := admin.New(admin.Options{
				Listen: test.listen, Token: test.token, Controller: newFakeHost(),
				Gatherer: prometheus.NewRegistry(), Logger: hclog.NewNullLogger(),
			})
			if !test.refused {
				require.NoError(t, err)
				return
			}
			var insecure *admin.InsecureListenError
			require.ErrorAs(t, err, &insecure)
			require.Equal(t, test.listen, insecure.Listen)
			require.ErrorContains(t, err, "host.admin.token")
		})
	}
}

func TestStartReportsAnAddressInUse(t *testing.T) {
	t.Parallel()
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, taken.Close()) }()

	server, err := admin.New(admin.Options{
		Listen: taken.Addr().String(), Controller: newFakeHost(),
		Gatherer: prometheus.NewRegistry(), Logger: hclog.NewNullLogger(),
	})
	require.NoError(t, err)
	err = server.Start(t.Context())
	require.ErrorContains(t, err, "listen for admin requests on "+taken.Addr().String())
	require.ErrorContains(t, err, "set host.admin.listen")
	require.Empty(t, server.Addr())
	require.NoError(t, server.Shutdown(t.Context()))
}

func TestHealth(t *testing.T) {
	t.Parallel()
	b := setup(t, "")

	got := b.do(t, http.MethodGet, "/health", "")
	require.Equal(t, http.StatusOK, got.code)
	require.JSONEq(t, `{"status": "Healthy", "live": true, "ready": true}`, got.body)

	b.host.with(func(h *fakeHost) {
		h.status.Health = admin.Health{
			Status: admin.HealthCritical, Reasons: []string{"database: unreachable"},
			Components: []admin.Component{{Name: "database", Status: "Critical", Reason: "unreachable"}},
		}
		h.stuck = []string{"poller: no progress for 50s"}
		h.unready = []string{"draining"}
	})
	got = b.do(t, http.MethodGet, "/health", "")
	require.Equal(t, http.StatusServiceUnavailable, got.code)
	require.JSONEq(t, `{"status": "Critical", "live": false, "ready": false, "reasons": ["database: unreachable"],
		"components": [{"name": "database", "status": "Critical", "reason": "unreachable"}]}`, got.body)
}

func TestLiveAndReadyNameTheReasons(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	for _, path := range []string{"/health/live", "/health/ready"} {
		got := b.do(t, http.MethodGet, path, "")
		require.Equal(t, http.StatusOK, got.code)
		require.JSONEq(t, `{"ok": true}`, got.body)
	}
	b.host.with(func(h *fakeHost) {
		h.stuck = []string{"poller: no progress for 50s"}
		h.unready = []string{"draining", "no plugin is ready"}
	})
	got := b.do(t, http.MethodGet, "/health/live", "")
	require.Equal(t, http.StatusServiceUnavailable, got.code)
	require.JSONEq(t, `{"ok": false, "reasons": ["poller: no progress for 50s"]}`, got.body)
	got = b.do(t, http.MethodGet, "/health/ready", "")
	require.Equal(t, http.StatusServiceUnavailable, got.code)
	require.JSONEq(t, `{"ok": false, "reasons": ["draining", "no plugin is ready"]}`, got.body)
}

func TestStatusWritesSecondsAndEmptyLists(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	b.host.with(func(h *fakeHost) { h.status.Plugins = nil })

	got := b.do(t, http.MethodGet, "/status", "")
	require.Equal(t, http.StatusOK, got.code)
	var raw map[string]any
	require.NoError(t, json.Unmarshal([]byte(got.body), &raw))
	require.InDelta(t, 1.5, raw["host"].(map[string]any)["uptime_seconds"], 0)
	require.Equal(t, []any{}, raw["plugins"])
	require.Equal(t, []any{}, raw["buffers"])
	require.Equal(t, "Hybrid", raw["mode"])
	require.Len(t, raw["namespaces"], 2)
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	got := b.do(t, http.MethodGet, "/metrics", "")
	require.Equal(t, http.StatusOK, got.code)
	require.Contains(t, got.body, "stephost_test_total 1")
}

func TestModeControl(t *testing.T) {
	t.Parallel()
	b := setup(t, "")

	got := b.do(t, http.MethodGet, "/mode", "")
	require.JSONEq(t, `{"mode": "Hybrid", "override": false}`, got.body)

	got = b.do(t, http.MethodPut, "/mode", `{"mode": "PollingOnly"}`)
	require.Equal(t, http.StatusOK, got.code, got.body)
	require.JSONEq(t, `{"mode": "PollingOnly", "override": true}`, got.body)

	for _, body := range []string{``, `{}`, `{"mode": "hybrid"}`, `{"mood": "Hybrid"}`, `not json`} {
		got = b.do(t, http.MethodPut, "/mode", body)
		require.Equal(t, http.StatusBadRequest, got.code, body)
		require.NotEmpty(t, got.error(t))
	}

	b.host.with(func(h *fakeHost) { h.modeErr = fmt.Errorf("listener is disabled: %w", admin.ErrConflict) })
	got = b.do(t, http.MethodPut, "/mode", `{"mode": "EventDrivenOnly"}`)
	require.Equal(t, http.StatusConflict, got.code)
	require.Contains(t, got.error(t), "listener is disabled")

	b.host.with(func(h *fakeHost) { h.modeErr = errors.New("LISTEN failed") })
	got = b.do(t, http.MethodPut, "/mode", `{"mode": "EventDrivenOnly"}`)
	require.Equal(t, http.StatusInternalServerError, got.code)
	require.Equal(t, "LISTEN failed", got.error(t))
}

func TestPauseControl(t *testing.T) {
	t.Parallel()
	b := setup(t, "")

	got := b.do(t, http.MethodPost, "/namespaces/orders/pause", "")
	require.Equal(t, http.StatusOK, got.code, got.body)
	require.Contains(t, got.body, `"paused": true`)
	require.True(t, b.host.Status(t.Context()).Namespaces[0].Paused)
	require.False(t, b.host.Status(t.Context()).Namespaces[1].Paused)

	got = b.do(t, http.MethodPost, "/namespaces/orders/resume", "")
	require.Equal(t, http.StatusOK, got.code)
	require.False(t, b.host.Status(t.Context()).Namespaces[0].Paused)

	got = b.do(t, http.MethodPost, "/namespaces/nowhere/pause", "")
	require.Equal(t, http.StatusNotFound, got.code)
	require.Equal(t, `namespace "nowhere": not found`, got.error(t))
}

func TestPluginReset(t *testing.T) {
	t.Parallel()
	b := setup(t, "")

	got := b.do(t, http.MethodPost, "/plugins/orders/reset", "")
	require.Equal(t, http.StatusOK, got.code, got.body)
	require.Contains(t, got.body, `"state": "starting"`)

	got = b.do(t, http.MethodPost, "/plugins/nowhere/reset", "")
	require.Equal(t, http.StatusNotFound, got.code)
	require.Equal(t, `plugin "nowhere": not found: this host has orders`, got.error(t))

	b.host.with(func(h *fakeHost) { h.status.Plugins[0].State = "stopped" })
	got = b.do(t, http.MethodPost, "/plugins/orders/reset", "")
	require.Equal(t, http.StatusConflict, got.code)
	require.Contains(t, got.error(t), "the plugin is stopped")
}

func TestPluginReload(t *testing.T) {
	t.Parallel()
	b := setup(t, "")

	got := b.do(t, http.MethodPost, "/plugins/orders/reload", "")
	require.Equal(t, http.StatusOK, got.code, got.body)
	require.Contains(t, got.body, `"version": "1.1.0"`)

	got = b.do(t, http.MethodPost, "/plugins/nowhere/reload", "")
	require.Equal(t, http.StatusNotFound, got.code)

	b.host.with(func(h *fakeHost) { h.reloadErr = fmt.Errorf("%w: it is being changed already", admin.ErrConflict) })
	got = b.do(t, http.MethodPost, "/plugins/orders/reload", "")
	require.Equal(t, http.StatusConflict, got.code)

	b.host.with(func(h *fakeHost) { h.reloadErr = errors.New("the old version serves on: exit status 3") })
	got = b.do(t, http.MethodPost, "/plugins/orders/reload", "")
	require.Equal(t, http.StatusInternalServerError, got.code)
	require.Equal(t, "the old version serves on: exit status 3", got.error(t))
}

func TestPluginAttach(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	const body = `{"network": "unix", "address": "/tmp/p.sock", "pid": 4711, "protocol": 1}`

	got := b.do(t, http.MethodPost, "/plugins/orders/attach", body)
	require.Equal(t, http.StatusOK, got.code, got.body)
	require.Contains(t, got.body, "4711")
	require.Equal(t, http.StatusForbidden, b.do(t, http.MethodPost, "/plugins/nowhere/attach", body).code)
	for _, bad := range []string{"", `{"network": "unix"}`, `{"network": "tcp", "address": "192.0.2.1:1", "protocol": 1}`} {
		require.Equal(t, http.StatusBadRequest, b.do(t, http.MethodPost, "/plugins/orders/attach", bad).code, bad)
	}
}

func TestReloadOfTheConfiguration(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	b.host.with(func(h *fakeHost) {
		h.config = admin.Reload{Changed: true, Namespaces: admin.Members{Added: []string{"new"}}}
	})
	got := b.do(t, http.MethodPost, "/reload", "")
	require.Equal(t, http.StatusOK, got.code, got.body)
	require.NotContains(t, got.body, "null")
	require.Equal(t, http.StatusMethodNotAllowed, b.do(t, http.MethodGet, "/reload", "").code)

	report, err := b.client.Reload(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"new"}, report.Namespaces.Added)

	b.host.with(func(h *fakeHost) {
		h.configErr = &admin.InvalidConfigError{Reason: "not valid: nothing has changed", Diagnostics: "Error: line 7\n"}
	})
	_, err = b.client.Reload(t.Context())
	var refusal *admin.APIError
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, http.StatusUnprocessableEntity, refusal.Code)
	require.Equal(t, "not valid: nothing has changed", refusal.Error())
	require.Equal(t, "Error: line 7\n", refusal.Diagnostics)
}

func TestErrorsAreJSON(t *testing.T) {
	t.Parallel()
	b := setup(t, "")

	got := b.do(t, http.MethodDelete, "/mode", "")
	require.Equal(t, http.StatusMethodNotAllowed, got.code)
	require.Equal(t, "GET, PUT", got.header.Get("Allow"))
	require.Contains(t, got.error(t), "use GET or PUT")

	got = b.do(t, http.MethodGet, "/namespaces/orders/pause", "")
	require.Equal(t, http.StatusMethodNotAllowed, got.code)

	got = b.do(t, http.MethodGet, "/nothing", "")
	require.Equal(t, http.StatusNotFound, got.code)
	require.Contains(t, got.error(t), "/nothing")

	got = b.do(t, http.MethodPut, "/mode", `{"mode": "`+strings.Repeat("x", 70<<10)+`"}`)
	require.Equal(t, http.StatusRequestEntityTooLarge, got.code)
	require.NotEmpty(t, got.error(t))
}

func TestPanicsDoNotLeak(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	b.host.with(func(h *fakeHost) { h.panicked = true })
	got := b.do(t, http.MethodGet, "/status", "")
	require.Equal(t, http.StatusInternalServerError, got.code)
	require.NotContains(t, got.body, "secret")
	require.Contains(t, got.error(t), "internal error")

	b.host.with(func(h *fakeHost) { h.panicked = false })
	require.Equal(t, http.StatusOK, b.do(t, http.MethodGet, "/status", "").code)
}

func TestTokenGuardsAllButHealth(t *testing.T) {
	t.Parallel()
	b := setup(t, "secret")

	for _, path := range []string{"/health", "/health/live", "/health/ready"} {
		require.Equal(t, http.StatusOK, b.do(t, http.MethodGet, path, "").code, path)
	}
	for _, request := range []string{
		"GET /status", "GET /metrics", "GET /mode", "PUT /mode", "GET /namespaces", "GET /plugins",
		"POST /namespaces/orders/pause", "POST /namespaces/orders/resume", "POST /plugins/orders/reset", "POST /plugins/orders/reload", "POST /reload", "GET /nothing",
	} {
		method, path, _ := strings.Cut(request, " ")
		for _, header := range []string{"", "Bearer", "Bearer ", "Bearer wrong", "Basic secret", "secret"} {
			got := b.do(t, method, path, "", "Authorization", header)
			require.Equal(t, http.StatusUnauthorized, got.code, "%s with %q", request, header)
			require.Contains(t, got.error(t), "bearer token")
			require.Contains(t, got.header.Get("WWW-Authenticate"), "Bearer")
		}
	}
	require.False(t, b.host.Status(t.Context()).Namespaces[0].Paused)
	require.Equal(t, http.StatusOK, b.do(t, http.MethodGet, "/status", "", "Authorization", "bearer secret").code)
	// With a token any host name is served.
	require.Equal(t, http.StatusOK, b.do(t, http.MethodGet, "/status", "",
		"Authorization", "Bearer secret", "Host", "stephost.example.com").code)
}

func TestWebPagesCannotReachLoopback(t *testing.T) {
	t.Parallel()
	b := setup(t, "")

	got := b.do(t, http.MethodPost, "/namespaces/orders/pause", "", "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site")
	require.Equal(t, http.StatusForbidden, got.code)
	require.False(t, b.host.Status(t.Context()).Namespaces[0].Paused)

	got = b.do(t, http.MethodGet, "/status", "", "Host", "rebound.example:7420")
	require.Equal(t, http.StatusForbidden, got.code)
	require.Contains(t, got.error(t), "rebound.example")

	for _, host := range []string{"localhost:7420", "localhost", "[::1]:7420", "[::1]", "127.0.0.1"} {
		require.Equal(t, http.StatusOK, b.do(t, http.MethodGet, "/status", "", "Host", host).code, host)
	}
}
