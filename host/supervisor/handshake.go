package supervisor

import (
	"bufio"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/stephost/stephost/plugin/protocol"
	"github.com/stephost/stephost/queues"
)

// HandshakeFault is what is wrong with a handshake.
type HandshakeFault string

// The faults, in the order in which they are looked for.
const (
	FaultNoLine      HandshakeFault = "no line"
	FaultOtherText   HandshakeFault = "other text"
	FaultVersion     HandshakeFault = "version"
	FaultNotGRPC     HandshakeFault = "not gRPC"
	FaultCertificate HandshakeFault = "certificate"
)

// HandshakeError is a process that did not introduce itself as a plugin does.
type HandshakeError struct {
	Fault HandshakeFault
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
	// Type is the kind of RPC; only "grpc" is spoken.
	Type string
	// Certificate is the plugin's, in base64 without padding; empty without TLS.
	Certificate string
}

// errNoHandshake is a process that ended, or closed stdout, without a line.
var errNoHandshake = errors.New("it ended, or closed stdout, before the handshake")

// goPluginCore is the version of go-plugin's own part of the handshake.
const goPluginCore = 1

// readHandshake reads the first line of stdout, if it is a handshake for what
// the host speaks.
func readHandshake(r *bufio.Reader, tls bool) (Handshake, error) {
	raw, more, err := r.ReadLine()
	if err != nil {
		return Handshake{}, &HandshakeError{Fault: FaultNoLine, Err: errNoHandshake}
	}
	text := strings.TrimSpace(string(raw))
	h, ok := parseHandshake(text)
	fault := func(fault HandshakeFault, format string, args ...any) (Handshake, error) {
		return h, &HandshakeError{Fault: fault, Line: queues.Text(text, 200), Err: fmt.Errorf(format, args...)}
	}
	switch {
	case more || !ok:
		return fault(FaultOtherText, "it printed %q on stdout where the handshake line belongs: it is not a plugin, "+
			"or something in it prints before it serves; logs belong on stderr", queues.Text(text, 200))
	case h.Core != goPluginCore || h.Protocol != protocol.Version:
		return fault(FaultVersion, "it speaks version %d of the plugin protocol (go-plugin's handshake %d), and this host speaks version %d (handshake %d)",
			h.Protocol, h.Core, protocol.Version, goPluginCore)
	case h.Type != "grpc":
		return fault(FaultNotGRPC, "it does not serve gRPC: its handshake line is %q", queues.Text(text, 200))
	// go-plugin takes shorter certificates for something else.
	case tls && len(h.Certificate) <= 50:
		return fault(FaultCertificate, `it does not answer with a TLS certificate: use an SDK that can, or set tls = "off"`)
	// go-plugin panics here.
	case !tls && h.Certificate != "":
		return fault(FaultCertificate, "it answers with a TLS certificate, although TLS is off: without PLUGIN_CLIENT_CERT it must serve in the clear")
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
	if len(parts) > 4 {
		h.Type = parts[4]
	}
	if len(parts) > 5 {
		h.Certificate = parts[5]
	}
	return h, err1 == nil && err2 == nil && (h.Network == "unix" || h.Network == "tcp")
}
