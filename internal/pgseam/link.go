package pgseam

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"sync"
)

// link is one client with its connection to the server.
type link struct {
	proxy          *Proxy
	client, server net.Conn

	statements map[string]string // the text of each prepared statement; up's alone

	mu   sync.Mutex
	hold *Trap // for the replies up to the next ReadyForQuery
}

func newLink(p *Proxy, client, server net.Conn) *link {
	return &link{proxy: p, client: client, server: server, statements: make(map[string]string)}
}

// message is one message of the protocol with its type and length.
type message []byte

func (m message) kind() byte   { return m[0] }
func (m message) body() []byte { return m[5:] }

func readMessage(from *bufio.Reader) (message, error) {
	var head [5]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return nil, err
	}
	m := make(message, 1+int(binary.BigEndian.Uint32(head[1:])))
	copy(m, head[:])
	_, err := io.ReadFull(from, m[5:])
	return m, err
}

// text reads a string that ends with a zero.
func text(b []byte) (s string, rest []byte) {
	at := bytes.IndexByte(b, 0)
	if at < 0 {
		return "", nil
	}
	return string(b[:at]), b[at+1:]
}

// up carries what the client sends, one Sync at a time.
func (l *link) up() {
	defer l.proxy.drop(l.client, l.server)
	from := bufio.NewReader(l.client)
	if !l.startup(from) {
		return
	}
	var unit []byte
	executed := ""
	for {
		m, err := readMessage(from)
		if err != nil {
			return
		}
		unit = append(unit, m...)
		switch m.kind() {
		case 'P': // Parse
			name, rest := text(m.body())
			l.statements[name], _ = text(rest)
		case 'B': // Bind
			_, rest := text(m.body())
			name, _ := text(rest)
			executed = l.statements[name]
		case 'D', 'E', 'C': // until the Sync
		default:
			if !l.pass(unit, executed) {
				return
			}
			unit, executed = nil, ""
		}
	}
}

// startup carries the first message, which has no type.
func (l *link) startup(from *bufio.Reader) bool {
	var length [4]byte
	if _, err := io.ReadFull(from, length[:]); err != nil {
		return false
	}
	if _, err := l.server.Write(length[:]); err != nil {
		return false
	}
	_, err := io.CopyN(l.server, from, int64(binary.BigEndian.Uint32(length[:]))-4)
	return err == nil
}

// pass sends a unit to the server, by way of the trap that it springs.
func (l *link) pass(unit []byte, executed string) bool {
	if executed != "" {
		if trap := l.proxy.spring(executed); trap != nil {
			switch trap.seam {
			case Request:
				if !trap.wait() {
					return false
				}
			case Reply:
				l.mu.Lock()
				l.hold = trap
				l.mu.Unlock()
			}
		}
	}
	_, err := l.server.Write(unit)
	return err == nil
}

// down carries what the server sends.
func (l *link) down() {
	defer l.proxy.drop(l.client, l.server)
	from := bufio.NewReader(l.server)
	var held []byte
	for {
		m, err := readMessage(from)
		if err != nil {
			return
		}
		l.mu.Lock()
		trap := l.hold
		l.mu.Unlock()
		if trap == nil {
			if _, err := l.client.Write(m); err != nil {
				return
			}
			continue
		}
		held = append(held, m...)
		if m.kind() != 'Z' { // ReadyForQuery: the transaction is over
			continue
		}
		l.mu.Lock()
		l.hold = nil
		l.mu.Unlock()
		if !trap.wait() {
			return
		}
		if _, err := l.client.Write(held); err != nil {
			return
		}
		held = nil
	}
}
