package netfault

import (
	"bytes"
	"io"
	"net"
	"sync"
	"time"
)

// opening is how many of a connection's first bytes are remembered.
const opening = 512

// connection is a pair of sockets and the two streams between them.
type connection struct {
	proxy              *Proxy
	toServer, toClient *stream

	once sync.Once
	done chan struct{} // closed by abort

	mu    sync.Mutex
	first []byte
}

// stream is one direction of a connection.
type stream struct {
	of       *connection
	from, to *net.TCPConn
	toServer bool
	lost     bool // bytes, or the end; guarded by the proxy's mu
}

func newConnection(p *Proxy, client, server *net.TCPConn) *connection {
	c := &connection{proxy: p, done: make(chan struct{})}
	c.toServer = &stream{of: c, from: client, to: server, toServer: true}
	c.toClient = &stream{of: c, from: server, to: client}
	return c
}

// run forwards until both directions have ended.
func (c *connection) run() {
	var ways sync.WaitGroup
	ways.Go(c.toServer.forward)
	ways.Go(c.toClient.forward)
	ways.Wait()
	_ = c.toServer.from.Close()
	_ = c.toServer.to.Close()
}

// abort resets both sides.
func (c *connection) abort() {
	c.once.Do(func() {
		close(c.done)
		for _, side := range []*net.TCPConn{c.toServer.from, c.toServer.to} {
			_ = side.SetLinger(0)
			_ = side.Close()
		}
		c.proxy.reset.Add(1)
	})
}

// broken tells whether the connection cannot go on in a network. The proxy's mu
// is held.
func (c *connection) broken(n Network) bool {
	for _, s := range []*stream{c.toServer, c.toClient} {
		if s.lost && s.way(n).Mode != Drop {
			return true
		}
	}
	return false
}

func (c *connection) remember(piece []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.first = append(c.first, piece[:min(len(piece), opening-len(c.first))]...)
}

// concerned tells whether the faults of a network are for this connection.
func (c *connection) concerned(n Network) bool {
	if n.Only == "" {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Contains(c.first, []byte(n.Only))
}

// way is what a network is like for this stream.
func (s *stream) way(n Network) Way {
	switch {
	case !s.of.concerned(n):
		return Way{}
	case s.toServer:
		return n.ToServer
	}
	return n.ToClient
}

// forward carries the stream to its end. The end is carried like a piece.
func (s *stream) forward() {
	buffer := make([]byte, 32<<10)
	for {
		n, err := s.from.Read(buffer)
		if s.toServer {
			s.of.remember(buffer[:n])
		}
		dropped, alive := s.clear(n)
		switch {
		case !alive:
			return
		case dropped && err == nil:
			continue
		case dropped:
			// The other side is not told and goes on waiting, until the network
			// is another one and Set resets the connection.
			<-s.of.done
			return
		}
		if _, failed := s.to.Write(buffer[:n]); failed != nil || err != nil && err != io.EOF {
			s.of.abort()
			return
		}
		if err == io.EOF {
			_ = s.to.CloseWrite()
			return
		}
	}
}

// clear waits until a piece passes or is dropped. alive is false when the
// connection was cut off meanwhile.
func (s *stream) clear(size int) (dropped, alive bool) {
	for counted := false; ; {
		way, change := s.of.proxy.judge(s)
		switch way.Mode {
		case Drop:
			s.of.proxy.dropped.Add(int64(size))
			return true, true
		case Pass:
			return false, s.sleep(way.Delay)
		}
		if !counted {
			counted = true
			s.of.proxy.held.Add(int64(size))
		}
		select {
		case <-s.of.done:
			return false, false
		case <-change:
		}
	}
}

// sleep reports whether the connection is still there afterwards.
func (s *stream) sleep(d time.Duration) bool {
	if d == 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s.of.done:
		return false
	case <-timer.C:
		return true
	}
}
