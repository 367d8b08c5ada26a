package supervisor

import (
	"bufio"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// HandshakeError is a process that did not introduce itself as a plugin does.
type HandshakeError struct {
	// Line is the first line on stdout, cut to a readable length; empty where
	// there was none.
	Line string
	Err  error
}

func (e *HandshakeError) Error() string { return e.Err.Error() }

func (e *HandshakeError) Unwrap() error { return e.Err }

// Handshake is what a plugin says about itself on its first line.
type Handshake struct {
	// Line is the whole line.
	Line string
	// Core is the version of go-plugin's handshake, Protocol that of ours.
	Core, Protocol int
	// Network is "unix" or "tcp"; Address belongs to it.
	Network, Address string
	// Certificate is the plugin's, in base64 without padding; empty without TLS.
	Certificate string
}

// errNoHandshake is a process that ended, or closed stdout, without a line.
var errNoHandshake = errors.New("it ended, or closed stdout, before the handshake")

// readHandshake reads the first line of stdout, if it is a handshake for what
// the host speaks.
func readHandshake(r *bufio.Reader, tls bool) (Handshake, error) {
	raw, more, err := r.ReadLine()
	if err != nil {
		return Handshake{}, &HandshakeError{Err: errNoHandshake}
	}
	text := strings.TrimSpace(string(raw))
	shown := cut(text, 200)
	h, ok := parseHandshake(text)
	if more || !ok {
		return h, &HandshakeError{Line: shown, Err: fmt.Errorf("it printed %q on stdout where the handshake line belongs: it is not a plugin, "+
			"or something in it prints before it serves; logs belong on stderr", shown)}
	}
	if parts := strings.Split(text, "|"); len(parts) < 5 || parts[4] != "grpc" {
		return h, &HandshakeError{Line: shown, Err: fmt.Errorf("it does not serve gRPC: its handshake line is %q", shown)}
	}
	// go-plugin takes shorter certificates for something else.
	if tls && len(h.Certificate) <= 50 {
		return h, &HandshakeError{Line: shown, Err: errors.New(`it does not answer with a TLS certificate: use an SDK that can, or set tls = "off"`)}
	}
	return h, nil
}

// parseHandshake recognises "core|protocol|network|address" and what follows.
func parseHandshake(text string) (h Handshake, ok bool) {
	parts := strings.Split(text, "|")
	if len(parts) < 4 {
		return h, false
	}
	core, err1 := strconv.Atoi(parts[0])
	version, err2 := strconv.Atoi(parts[1])
	h = Handshake{Line: text, Core: core, Protocol: version, Network: parts[2], Address: parts[3]}
	if len(parts) > 5 {
		h.Certificate = parts[5]
	}
	return h, err1 == nil && err2 == nil && (h.Network == "unix" || h.Network == "tcp")
}
