package netfault

import (
	"bytes"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server takes connections one by one.
type server struct {
	t        *testing.T
	listener *net.TCPListener
	proxy    *Proxy
}

func newServer(t *testing.T) *server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	proxy, err := New(listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, proxy.Close())
		require.NoError(t, listener.Close())
	})
	return &server{t, listener.(*net.TCPListener), proxy}
}

// connect returns both ends of a connection through the proxy.
func (s *server) connect() (client, server *net.TCPConn) {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.proxy.Addr())
	require.NoError(s.t, err)
	server, err = s.listener.AcceptTCP()
	require.NoError(s.t, err)
	for _, c := range []net.Conn{conn, server} {
		require.NoError(s.t, c.SetDeadline(time.Now().Add(time.Minute)))
		s.t.Cleanup(func() { _ = c.Close() })
	}
	return conn.(*net.TCPConn), server
}

func (s *server) send(c net.Conn, text string) {
	s.t.Helper()
	_, err := c.Write([]byte(text))
	require.NoError(s.t, err)
}

func (s *server) receive(c net.Conn, text string) {
	s.t.Helper()
	got := make([]byte, len(text))
	_, err := io.ReadFull(c, got)
	require.NoError(s.t, err)
	require.Equal(s.t, text, string(got))
}

// silent tells that nothing has arrived. What the proxy has counted as held or
// dropped cannot arrive later.
func (s *server) silent(c net.Conn) {
	s.t.Helper()
	require.NoError(s.t, c.SetReadDeadline(time.Now().Add(time.Millisecond)))
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(s.t, err, os.ErrDeadlineExceeded)
	require.NoError(s.t, c.SetReadDeadline(time.Now().Add(time.Minute)))
}

func (s *server) cutOff(c net.Conn) {
	s.t.Helper()
	_, err := c.Read(make([]byte, 1))
	require.Error(s.t, err)
	require.NotErrorIs(s.t, err, os.ErrDeadlineExceeded)
	require.NotErrorIs(s.t, err, io.EOF, "a reset, and no orderly end")
}

func (s *server) waitFor(what func(Stats) bool) {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return what(s.proxy.Stats()) }, time.Minute, time.Millisecond)
}

func TestASoundNetworkCarriesBothDirectionsAndTheirEnds(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, server := s.connect()
	large := bytes.Repeat([]byte("0123456789"), 100_000)
	go func() {
		_, _ = client.Write(large)
		_ = client.CloseWrite()
	}()
	got, err := io.ReadAll(server)
	require.NoError(t, err)
	require.Equal(t, large, got)
	s.send(server, "an answer after the client's end")
	require.NoError(t, server.Close())
	got, err = io.ReadAll(client)
	require.NoError(t, err)
	require.Equal(t, "an answer after the client's end", string(got))
	require.Equal(t, Stats{Accepted: 1}, s.proxy.Stats())
}

func TestWhatIsHeldArrivesLateAndInOrder(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, server := s.connect()
	s.send(client, "1")
	s.receive(server, "1")
	s.proxy.Set(Cut())
	s.send(client, "late ")
	s.waitFor(func(got Stats) bool { return got.Held == 5 })
	s.silent(server)
	s.send(client, "zombie")
	require.NoError(t, client.Close())
	s.silent(server)
	s.proxy.Set(Sound())
	got, err := io.ReadAll(server)
	require.NoError(t, err, "the end arrives too")
	require.Equal(t, "late zombie", string(got))
	require.Zero(t, s.proxy.Stats().Dropped)
}

// deaf lets the client's bytes through and swallows the answers.
func deaf(only string) Network { return Network{ToClient: Way{Mode: Drop}, Only: only} }

func TestADeafClientIsHeardAndResetWhenTheNetworkIsBack(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, server := s.connect()
	s.proxy.Set(deaf(""))
	s.send(client, "commit")
	s.receive(server, "commit")
	s.send(server, "committed")
	s.waitFor(func(got Stats) bool { return got.Dropped == 9 })
	s.silent(client)
	require.Zero(t, s.proxy.Stats().Reset)
	s.proxy.Set(Sound())
	s.cutOff(client)
	s.cutOff(server)
	require.EqualValues(t, 1, s.proxy.Stats().Reset)

	again, server := s.connect()
	s.send(again, "a new connection is sound")
	s.receive(server, "a new connection is sound")
}

// A stream with a hole in it would be worse than none.
func TestAConnectionThatLostBytesNeverGoesOn(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, server := s.connect()
	s.proxy.Set(BlackHole())
	s.send(client, "lost")
	s.waitFor(func(got Stats) bool { return got.Dropped == 4 })
	s.proxy.Set(Cut())
	s.cutOff(client)
	s.cutOff(server)
}

func TestAnEndInABlackHoleIsNotHeardOf(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, server := s.connect()
	s.proxy.Set(BlackHole())
	s.send(client, "bye")
	require.NoError(t, client.Close())
	s.waitFor(func(got Stats) bool { return got.Dropped == 3 })
	s.silent(server)
	s.proxy.Set(Sound())
	s.cutOff(server)
}

func TestAFaultCanBeForSomeConnectionsOnly(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.proxy.Set(deaf("settle"))
	concerned, itsServer := s.connect()
	other, otherServer := s.connect()
	s.send(concerned, "I settle things")
	s.receive(itsServer, "I settle things")
	s.send(itsServer, "ok")
	s.send(other, "I claim things")
	s.receive(otherServer, "I claim things")
	s.send(otherServer, "ok")
	s.receive(other, "ok")
	s.waitFor(func(got Stats) bool { return got.Dropped == 2 })
	s.silent(concerned)
	s.proxy.Set(Sound())
	s.cutOff(concerned)
	s.send(otherServer, "still here")
	s.receive(other, "still here")
}

func TestResetCutsOffWhatIsOpen(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, server := s.connect()
	s.send(client, "x")
	s.receive(server, "x")
	require.Equal(t, 1, s.proxy.Reset())
	s.cutOff(client)
	s.cutOff(server)
}

func TestADelayPasses(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, server := s.connect()
	const delay = 20 * time.Millisecond
	s.proxy.Set(Network{ToServer: Way{Delay: delay}})
	sent := time.Now()
	s.send(client, "slow")
	s.receive(server, "slow")
	require.GreaterOrEqual(t, time.Since(sent), delay)
}

func TestCloseEndsWhatWaits(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, server := s.connect()
	s.proxy.Set(Cut())
	s.send(client, "never")
	s.waitFor(func(got Stats) bool { return got.Held == 5 })
	require.NoError(t, s.proxy.Close())
	s.cutOff(server)
	_, err := net.Dial("tcp", s.proxy.Addr())
	require.Error(t, err)
	// The clean-up closes it again.
}
