package protocol

import (
	"strings"

	goplugin "github.com/hashicorp/go-plugin"
)

// Version is the protocol version that this code speaks, the second field of
// the handshake line.
const Version = 1

// PluginName is the key under which the service is found in a go-plugin set.
const PluginName = "stephost"

// CookieKey and CookieValue are the environment variable that tells a plugin
// that a host started it. The value is no secret: it only keeps a plugin from
// running when somebody executes it by hand.
const (
	CookieKey   = "STEPHOST_PLUGIN"
	CookieValue = "b2f4c1f2-step-host-plugin-v1"
)

// Handshake returns what go-plugin compares before host and plugin talk.
func Handshake() goplugin.HandshakeConfig {
	return goplugin.HandshakeConfig{
		ProtocolVersion:  Version,
		MagicCookieKey:   CookieKey,
		MagicCookieValue: CookieValue,
	}
}

// ReservedEnv reports whether an environment variable belongs to the
// conversation between host and plugin: STEPHOST_PLUGIN and what starts with
// it, and go-plugin's own PLUGIN_ family. A configuration must not set these
// for a plugin.
func ReservedEnv(name string) bool {
	return strings.HasPrefix(name, CookieKey) || strings.HasPrefix(name, "PLUGIN_")
}
