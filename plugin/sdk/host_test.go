package sdk_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/plugin/sdk"
	"github.com/stephost/stephost/plugin/sdk/internal/inproc"
)

// asPlugin makes the test binary a plugin.
const asPlugin = "SDK_TEST_AS_PLUGIN"

func TestMain(m *testing.M) {
	if os.Getenv(asPlugin) != "" {
		servePlugin()
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for something that must come.
const patience = 30 * time.Second

// host talks to a plugin message by message, for what package sdktest leaves
// to a well-behaved host.
type host struct {
	t      testing.TB
	server *sdk.Server
	client *protocol.Client
	logs   *lockedBuffer
}

// startHost serves and configures a plugin without config.
func startHost(t testing.TB, opts ...sdk.Option) *host {
	t.Helper()
	h := attach(t, func(logger hclog.Logger) *sdk.Server { return sdk.NewServer(sdk.New(opts...), logger) })
	resp := h.configure(nil)
	require.Empty(t, resp.GetDiagnostics())
	return h
}

// startHostWith serves a plugin that still wants its config.
func startHostWith[C any](t testing.TB, setup func(context.Context, C) (*sdk.Plugin, error)) *host {
	t.Helper()
	return attach(t, func(logger hclog.Logger) *sdk.Server { return sdk.NewServerWith(setup, logger) })
}

func attach(t testing.TB, serve func(hclog.Logger) *sdk.Server) *host {
	t.Helper()
	logs := &lockedBuffer{}
	server := serve(hclog.New(&hclog.LoggerOptions{Output: logs, JSONFormat: true, Level: hclog.Info}))
	conn, err := inproc.Serve(server.Register)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, errors.Join(conn.Close(), server.Close())) })
	return &host{t: t, server: server, client: conn.Client, logs: logs}
}

func (h *host) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	h.t.Cleanup(cancel)
	return ctx
}

func (h *host) configure(config []byte) *pluginv1.ConfigureResponse {
	h.t.Helper()
	resp, err := h.client.Configure(h.ctx(), &pluginv1.ConfigureRequest{Config: config, LogLevel: "debug"})
	require.NoError(h.t, err)
	return resp
}

// call runs one step on a stream of its own.
func (h *host) call(step *pluginv1.Step) *pluginv1.Result {
	h.t.Helper()
	s := h.open()
	s.send(step)
	r := s.result()
	s.drain()
	return r
}

// callStep runs a step by its name.
func (h *host) callStep(name, input string) *pluginv1.Result {
	h.t.Helper()
	return h.call(&pluginv1.Step{Id: 1, Step: name, Input: []byte(input), Attempt: 1})
}

// stream is an open Execute call.
type stream struct {
	t       testing.TB
	rpc     grpc.BidiStreamingClient[pluginv1.ExecuteRequest, pluginv1.ExecuteResponse]
	cancel  context.CancelFunc
	results []*pluginv1.Result
	beats   []*pluginv1.Heartbeat
}

func (h *host) open() *stream {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	h.t.Cleanup(cancel)
	rpc, err := h.client.Execute(ctx)
	require.NoError(h.t, err)
	return &stream{t: h.t, rpc: rpc, cancel: cancel}
}

func (s *stream) send(steps ...*pluginv1.Step) {
	s.t.Helper()
	require.NoError(s.t, s.rpc.Send(&pluginv1.ExecuteRequest{Steps: steps}))
}

func (s *stream) sendCancel(id uint64, reason pluginv1.CancelReason) {
	s.t.Helper()
	require.NoError(s.t, s.rpc.Send(&pluginv1.ExecuteRequest{
		Cancellations: []*pluginv1.Cancellation{{Id: id, Reason: reason}},
	}))
}

// receive reads one message.
func (s *stream) receive() {
	s.t.Helper()
	resp, err := s.rpc.Recv()
	require.NoError(s.t, err)
	s.results = append(s.results, resp.GetResults()...)
	s.beats = append(s.beats, resp.GetHeartbeats()...)
}

// result returns the next result.
func (s *stream) result() *pluginv1.Result {
	s.t.Helper()
	for len(s.results) == 0 {
		s.receive()
	}
	r := s.results[0]
	s.results = s.results[1:]
	return r
}

// resultsByID returns n results by their ids.
func (s *stream) resultsByID(n int) map[uint64]*pluginv1.Result {
	s.t.Helper()
	byID := map[uint64]*pluginv1.Result{}
	for range n {
		r := s.result()
		// A lookup: NotContains would compare with every key.
		_, twice := byID[r.GetId()]
		require.False(s.t, twice, "step %d answered twice", r.GetId())
		byID[r.GetId()] = r
	}
	return byID
}

// heartbeat returns the next heartbeat.
func (s *stream) heartbeat() *pluginv1.Heartbeat {
	s.t.Helper()
	for len(s.beats) == 0 {
		s.receive()
	}
	b := s.beats[0]
	s.beats = s.beats[1:]
	return b
}

// drain half-closes the stream and requires that nothing more comes.
func (s *stream) drain() {
	s.t.Helper()
	require.NoError(s.t, s.rpc.CloseSend())
	s.end()
}

// end requires that the plugin ends the stream, with nothing unread.
func (s *stream) end() {
	s.t.Helper()
	resp, err := s.rpc.Recv()
	require.True(s.t, errors.Is(err, io.EOF), "got %v, %v", resp, err)
	require.Empty(s.t, s.results)
}

// await waits for a signal from a handler.
func await[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came in time")
		panic("unreachable")
	}
}

// lockedBuffer collects log lines.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
