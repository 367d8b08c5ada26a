package supervisor

import (
	"bufio"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// errNoHandshake is a process that ended, or closed stdout, without a line.
var errNoHandshake = errors.New("it ended, or closed stdout, before the handshake")

// readHandshake returns the first line of stdout, if it is a handshake for
// what the host speaks.
func readHandshake(r *bufio.Reader, tls bool) (string, error) {
	raw, more, err := r.ReadLine()
	if err != nil {
		return "", errNoHandshake
	}
	text := strings.TrimSpace(string(raw))
	if more || !isHandshake(text) {
		return "", fmt.Errorf("it printed %q on stdout where the handshake line belongs: it is not a plugin, "+
			"or something in it prints before it serves; logs belong on stderr", cut(text, 200))
	}
	parts := strings.Split(text, "|")
	if len(parts) < 5 || parts[4] != "grpc" {
		return "", fmt.Errorf("it does not serve gRPC: its handshake line is %q", cut(text, 200))
	}
	// go-plugin takes shorter certificates for something else.
	if hasCert := len(parts) > 5 && len(parts[5]) > 50; tls && !hasCert {
		return "", errors.New(`it does not answer with a TLS certificate: use an SDK that can, or set tls = "off"`)
	}
	return text, nil
}

// isHandshake recognises "core|protocol|network|address" and what follows.
func isHandshake(text string) bool {
	parts := strings.Split(text, "|")
	if len(parts) < 4 {
		return false
	}
	_, err1 := strconv.Atoi(parts[0])
	_, err2 := strconv.Atoi(parts[1])
	return err1 == nil && err2 == nil && (parts[2] == "unix" || parts[2] == "tcp")
}
