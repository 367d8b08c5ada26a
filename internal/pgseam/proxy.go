package pgseam

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Seam is where a statement is stopped.
type Seam int

// The seams.
const (
	// Request: the client has sent it, the server has not seen it.
	Request Seam = iota
	// Reply: the server has executed and committed it, the client does not know.
	Reply
)

// Proxy listens on a socket of its own and connects each client to the server.
// It is safe for concurrent use.
type Proxy struct {
	dir, dsn string
	server   string // the server's socket
	listener net.Listener
	work     sync.WaitGroup

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]struct{}
	traps  []*Trap
}

// New starts a proxy to the database of a URL whose host is the directory of a
// unix socket. The caller closes it.
func New(dsn string) (*Proxy, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return nil, errors.New("the DSN is no URL")
	}
	query := u.Query()
	socket := ".s.PGSQL." + query.Get("port")
	p := &Proxy{
		server: filepath.Join(query.Get("host"), socket),
		conns:  make(map[net.Conn]struct{}),
	}
	// Not t.TempDir: a socket's path has to be short.
	if p.dir, err = os.MkdirTemp("", "seam"); err != nil {
		return nil, err
	}
	if p.listener, err = net.Listen("unix", filepath.Join(p.dir, socket)); err != nil {
		return nil, errors.Join(err, os.RemoveAll(p.dir))
	}
	query.Set("host", p.dir)
	u.RawQuery = query.Encode()
	p.dsn = u.String()
	p.work.Go(p.accept)
	return p, nil
}

// DSN is the database's URL by way of the proxy.
func (p *Proxy) DSN() string { return p.dsn }

// Close cuts all connections and waits for the proxy's end.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	for conn := range p.conns {
		_ = conn.Close()
	}
	for _, trap := range p.traps {
		trap.Cut()
	}
	p.mu.Unlock()
	err := p.listener.Close()
	p.work.Wait()
	return errors.Join(err, os.RemoveAll(p.dir))
}

// Trap catches the next statement whose text contains a given part.
type Trap struct {
	part    string
	seam    Seam
	caught  chan struct{}
	decide  sync.Once
	decided chan struct{}
	cut     bool
}

// Arm sets a trap for the next execution of a statement that contains part.
func (p *Proxy) Arm(part string, seam Seam) *Trap {
	trap := &Trap{part: part, seam: seam, caught: make(chan struct{}), decided: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.traps = append(p.traps, trap)
	return trap
}

// Disarm removes a trap that has caught nothing.
func (p *Proxy) Disarm(trap *Trap) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove(trap)
	trap.Release()
}

func (p *Proxy) remove(trap *Trap) {
	for i, t := range p.traps {
		if t == trap {
			p.traps = append(p.traps[:i], p.traps[i+1:]...)
			return
		}
	}
}

// Caught is closed when a statement has come to the seam.
func (t *Trap) Caught() <-chan struct{} { return t.caught }

// Release lets the statement go on.
func (t *Trap) Release() { t.end(false) }

// Cut ends the connection of the statement.
func (t *Trap) Cut() { t.end(true) }

func (t *Trap) end(cut bool) {
	t.decide.Do(func() {
		t.cut = cut
		close(t.decided)
	})
}

// wait stops at the seam and reports whether to go on.
func (t *Trap) wait() bool {
	close(t.caught)
	<-t.decided
	return !t.cut
}

// spring returns the trap for a statement that is being executed, if any.
func (p *Proxy) spring(sql string) *Trap {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, trap := range p.traps {
		if strings.Contains(sql, trap.part) {
			p.remove(trap)
			return trap
		}
	}
	return nil
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("unix", p.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		if !p.keep(client, server) {
			return
		}
		l := newLink(p, client, server)
		p.work.Go(l.up)
		p.work.Go(l.down)
	}
}

// keep notes the connections, so that Close finds them.
func (p *Proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range conns {
		if p.closed {
			_ = conn.Close()
			continue
		}
		p.conns[conn] = struct{}{}
	}
	return !p.closed
}

func (p *Proxy) drop(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range conns {
		_ = conn.Close()
		delete(p.conns, conn)
	}
}

// String names the proxy in messages of tests.
func (p *Proxy) String() string { return fmt.Sprintf("proxy to %s", p.server) }
