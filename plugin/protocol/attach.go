package protocol

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
)

// AttachKey is the environment variable that makes a plugin which is started by
// hand, or by a debugger, attach to a running host instead of explaining
// itself. Its value is the plugin's name in the host's configuration, and
// optionally the host's admin endpoint: orders, or orders@127.0.0.1:7420.
const AttachKey = "STEPHOST_ATTACH"

// DefaultAdmin is where a host's admin endpoint is when nothing says otherwise.
const DefaultAdmin = "127.0.0.1:7420"

// Attachment is how a plugin that was not started by the host says where it
// serves. It is the body of POST /plugins/{name}/attach at the admin endpoint.
// The plugin serves without TLS.
type Attachment struct {
	// Network is "unix" or "tcp"; Address is an absolute path, or host:port on
	// the loopback interface.
	Network string `json:"network"`
	Address string `json:"address"`
	// PID is for people; the host sends it no signal.
	PID int `json:"pid"`
	// Protocol is the version that the plugin speaks.
	Protocol int `json:"protocol"`
}

// Check reports what is wrong with an attachment.
func (a Attachment) Check() error {
	if a.Protocol != Version {
		return fmt.Errorf("the plugin speaks version %d of the protocol, and this host version %d", a.Protocol, Version)
	}
	switch a.Network {
	case "unix":
		if !filepath.IsAbs(a.Address) {
			return fmt.Errorf("the socket %q is not an absolute path", a.Address)
		}
		return nil
	case "tcp":
		host, _, err := net.SplitHostPort(a.Address)
		if err != nil {
			return fmt.Errorf("the address %q is not host:port", a.Address)
		}
		if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
			return fmt.Errorf("the address %s is not on the loopback interface", a.Address)
		}
		return nil
	default:
		return errors.New(`the network is neither "unix" nor "tcp"`)
	}
}
