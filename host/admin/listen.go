package admin

import (
	"fmt"
	"net"
	"net/netip"
)

// InsecureListenError refuses an endpoint that others could reach without a
// token.
type InsecureListenError struct{ Listen string }

func (e *InsecureListenError) Error() string {
	return fmt.Sprintf("admin endpoint %s can be reached from other machines: set host.admin.token, or listen on 127.0.0.1", e.Listen)
}

// checkListen parses host:port and refuses what is not loopback when there is
// no token. Host names other than localhost count as not loopback: what they
// resolve to may change.
func checkListen(listen string, hasToken bool) error {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("admin listen address %q: %w", listen, err)
	}
	if !hasToken && !isLoopback(host) {
		return &InsecureListenError{Listen: listen}
	}
	return nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// isLocalName reports whether a Host header is one that a browser can only
// send for an address that its user typed, which a rebound DNS name is not.
func isLocalName(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	if host == "localhost" {
		return true
	}
	if len(host) > 1 && host[0] == '[' && host[len(host)-1] == ']' {
		host = host[1 : len(host)-1]
	}
	_, err = netip.ParseAddr(host)
	return err == nil
}
