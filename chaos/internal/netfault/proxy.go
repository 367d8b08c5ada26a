package netfault

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Proxy forwards TCP connections to one target over a network that can be
// changed. It is safe for concurrent use.
type Proxy struct {
	target   string
	listener net.Listener
	work     sync.WaitGroup

	mu     sync.Mutex
	net    Network
	change chan struct{} // closed when net changes
	conns  map[*connection]struct{}
	closed bool

	accepted, reset, held, dropped atomic.Int64
}

// Stats count what the proxy has done since it was made.
type Stats struct {
	// Accepted is how many connections clients have made; Reset how many of
	// them were cut off.
	Accepted, Reset int64
	// Held and Dropped are the bytes that did not pass when they were sent. Of
	// a way that holds, only what the proxy has read counts: 32 KiB for each
	// connection at most.
	Held, Dropped int64
}

const dialTimeout = 10 * time.Second

// New listens on a free port of 127.0.0.1 and forwards to target, a host and
// port. The caller closes the proxy.
func New(target string) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the proxy of %s: %w", target, err)
	}
	p := &Proxy{target: target, listener: listener, change: make(chan struct{}), conns: make(map[*connection]struct{})}
	p.work.Go(p.accept)
	return p, nil
}

// Addr is the host and port to connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Set changes the network, at once and for the connections that are open too.
// Those that have lost bytes on a way that drops no more are reset.
func (p *Proxy) Set(n Network) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.net = n
	close(p.change)
	p.change = make(chan struct{})
	for c := range p.conns {
		if c.broken(n) {
			c.abort()
		}
	}
}

// Reset cuts off the connections that are open, with a TCP reset to both sides,
// and returns how many there were.
func (p *Proxy) Reset() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.abort()
	}
	return len(p.conns)
}

// Stats returns what has been counted so far.
func (p *Proxy) Stats() Stats {
	return Stats{Accepted: p.accepted.Load(), Reset: p.reset.Load(), Held: p.held.Load(), Dropped: p.dropped.Load()}
}

// Close stops listening, cuts off what is open and joins all goroutines. Closing
// again does nothing.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	err := p.listener.Close()
	p.Reset()
	p.work.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // of one connection only
		}
		p.accepted.Add(1)
		p.work.Go(func() { p.serve(client.(*net.TCPConn)) })
	}
}

// serve connects to the target at once, whatever the network is like: the
// client's first bytes decide whether the fault concerns it.
func (p *Proxy) serve(client *net.TCPConn) {
	server, err := net.DialTimeout("tcp", p.target, dialTimeout)
	if err != nil {
		_ = client.SetLinger(0)
		_ = client.Close()
		return
	}
	c := newConnection(p, client, server.(*net.TCPConn))
	if !p.add(c) {
		c.abort()
		return
	}
	c.run()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *Proxy) add(c *connection) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

// judge tells what happens to a piece of a stream now. Where it is dropped the
// stream is marked under the same lock as Set looks at it.
func (p *Proxy) judge(s *stream) (w Way, change <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w = s.way(p.net)
	s.lost = s.lost || w.Mode == Drop
	return w, p.change
}
