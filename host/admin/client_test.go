package admin_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/eventsystem"
	"github.com/stephost/stephost/host/admin"
)

func TestClientRoundTrip(t *testing.T) {
	t.Parallel()
	for _, token := range []string{"", "secret"} {
		t.Run("token "+token, func(t *testing.T) {
			t.Parallel()
			b := setup(t, token)
			ctx := t.Context()

			status, err := b.client.Status(ctx)
			require.NoError(t, err)
			require.Equal(t, "worker-1", status.Host.ID)
			require.Equal(t, 1500*time.Millisecond, status.Host.Uptime.Duration())

			mode, err := b.client.SetMode(ctx, eventsystem.PollingOnly)
			require.NoError(t, err)
			require.Equal(t, admin.ModeState{Mode: eventsystem.PollingOnly, Override: true}, mode)
			mode, err = b.client.Mode(ctx)
			require.NoError(t, err)
			require.Equal(t, eventsystem.PollingOnly, mode.Mode)

			ns, err := b.client.SetPaused(ctx, "pay/ments", true)
			require.NoError(t, err)
			require.True(t, ns.Paused)
			all, err := b.client.Namespaces(ctx)
			require.NoError(t, err)
			require.Equal(t, []bool{false, true}, []bool{all[0].Paused, all[1].Paused})
			require.Equal(t, 250*time.Millisecond, all[0].OldestWait.Duration())

			plugins, err := b.client.Plugins(ctx)
			require.NoError(t, err)
			require.Equal(t, 43, plugins[0].Instances[0].PID)

			plugin, err := b.client.ResetPlugin(ctx, "orders")
			require.NoError(t, err)
			require.Equal(t, "starting", plugin.State)

			swap, err := b.client.ReloadPlugin(ctx, "orders")
			require.NoError(t, err)
			require.Equal(t, admin.PluginVersion{Generation: 2, Version: "1.1.0", PIDs: []int{44}}, swap.New)
			require.Equal(t, 40*time.Millisecond, swap.Took.Duration())

			_, err = b.client.SetPaused(ctx, "nowhere", true)
			var refusal *admin.APIError
			require.ErrorAs(t, err, &refusal)
			require.Equal(t, http.StatusNotFound, refusal.Code)
			require.EqualError(t, err, `namespace "nowhere": not found`)
		})
	}
}

func TestClientSaysThatTheTokenIsMissing(t *testing.T) {
	t.Parallel()
	b := setup(t, "secret")
	client, err := admin.NewClient(b.server.Addr(), "")
	require.NoError(t, err)
	_, err = client.Status(t.Context())
	require.ErrorContains(t, err, "STEPHOST_ADMIN_TOKEN")
}

func TestClientSaysThatNoHostAnswers(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := listener.Addr().String()
	require.NoError(t, listener.Close())

	client, err := admin.NewClient(addr, "")
	require.NoError(t, err)
	_, err = client.Status(t.Context())
	var unreachable *admin.UnreachableError
	require.ErrorAs(t, err, &unreachable)
	require.ErrorContains(t, err, "no host answers at "+addr+": is `stephost run` running? set --admin or STEPHOST_ADMIN")
	require.ErrorContains(t, err, "connection refused")
	require.Equal(t, 1, strings.Count(err.Error(), addr))
}

func TestClientRecognisesAStranger(t *testing.T) {
	t.Parallel()
	for _, handler := range []http.HandlerFunc{
		func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "nope", http.StatusNotFound) },
	} {
		stranger := httptest.NewServer(handler)
		client, err := admin.NewClient(stranger.URL, "")
		require.NoError(t, err)
		_, err = client.Status(t.Context())
		require.ErrorContains(t, err, "is not a stephost host")
		stranger.Close()
	}
}

func TestClientAddresses(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	_, port, err := net.SplitHostPort(b.server.Addr())
	require.NoError(t, err)
	for _, addr := range []string{":" + port, "0.0.0.0:" + port, "http://127.0.0.1:" + port + "/"} {
		client, err := admin.NewClient(addr, "")
		require.NoError(t, err, addr)
		_, err = client.Mode(t.Context())
		require.NoError(t, err, addr)
	}
	for _, addr := range []string{"", "7420", "ftp://127.0.0.1:1", "http://"} {
		_, err := admin.NewClient(addr, "")
		require.Error(t, err, addr)
	}
}
