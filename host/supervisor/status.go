package supervisor

import "time"

// State is where a plugin or one of its instances is in its life.
type State string

// The states. Only plugins trip and drain.
const (
	StateStopped    State = "stopped"
	StateStarting   State = "starting"
	StateReady      State = "ready"
	StateDraining   State = "draining"
	StateBackingOff State = "backing-off"
	StateTripped    State = "tripped"
)

// Status is what a plugin is doing.
type Status struct {
	Name string
	// Version is what the plugin calls itself; empty until it has been ready.
	Version string
	State   State
	// Reason says why it is not ready; empty where it is.
	Reason    string
	Since     time.Time
	Instances []InstanceStatus
	// StrayResults counts results for steps that were not in flight,
	// DroppedLogLines what the host's log could not take.
	StrayResults    uint64
	DroppedLogLines uint64
}

// InstanceStatus is what one instance is doing.
type InstanceStatus struct {
	Instance int
	// PID is 0 where there is no process or it is still starting.
	PID      int
	State    State
	Since    time.Time
	InFlight int
	// Restarts counts attempts to start after the first.
	Restarts  int
	LastError string
	// NextAttempt is set while backing off.
	NextAttempt time.Time
}
