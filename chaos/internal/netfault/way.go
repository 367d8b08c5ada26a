package netfault

import "time"

// Mode is what happens to the bytes of one direction.
type Mode int

// The modes.
const (
	Pass Mode = iota
	Hold
	Drop
)

// Way is one direction of the network. The zero value is a sound one.
type Way struct {
	Mode Mode
	// Delay is added to each piece that passes, one after the other: a piece is
	// what one read yields, 32 KiB at most.
	Delay time.Duration
}

// Network is the state of both directions. The zero value is a sound one.
type Network struct {
	ToServer, ToClient Way
	// Only restricts the faults to connections whose first bytes contain this
	// text, such as the application_name of PostgreSQL's startup packet. The
	// empty text means all. It sees nothing in a connection that is encrypted.
	Only string
}

// Sound forwards everything.
func Sound() Network { return Network{} }

// Cut lets nothing through in either direction; what is sent arrives late.
func Cut() Network { return Network{ToServer: Way{Mode: Hold}, ToClient: Way{Mode: Hold}} }

// BlackHole swallows everything in both directions.
func BlackHole() Network { return Network{ToServer: Way{Mode: Drop}, ToClient: Way{Mode: Drop}} }
