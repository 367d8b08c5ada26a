package eventsystem

import "context"

// System is an event-driven system that consumes events E, is configured by C
// and reports statistics S. All methods are safe for concurrent use.
type System[E, C, S any] interface {
	// ID names the system in logs and metrics.
	ID() string
	// Mode is the deployment mode in force.
	Mode() Mode
	// Running reports whether the system is between Start and Stop.
	Running() bool
	// Start makes the sources of the mode run. It does not wait until they have
	// reached what they listen to; Health tells. ctx bounds the call, not the
	// system's life.
	Start(ctx context.Context) error
	// Stop stops the sources, lets what they had found be processed, and joins
	// every goroutine, within ctx.
	Stop(ctx context.Context) error
	// ProcessEvent acts on one event, whoever found it, and counts it.
	ProcessEvent(ctx context.Context, event E) error
	// Statistics returns a snapshot of what was measured.
	Statistics() S
	// Health examines the system now.
	Health(ctx context.Context) Health
	// Config returns what the system was built with.
	Config() C
	// Subscribe returns a channel of notifications with room for buffer of them,
	// and a function that ends the subscription and closes the channel. A
	// subscriber that does not keep up loses notifications.
	Subscribe(buffer int) (<-chan Notification, func())
}
