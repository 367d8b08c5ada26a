package admin

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/stephost/stephost/eventsystem"
)

// Seconds is a duration that JSON carries as a number of seconds.
type Seconds time.Duration

// Duration returns it as Go's duration.
func (s Seconds) Duration() time.Duration { return time.Duration(s) }

// String is like "1.5s".
func (s Seconds) String() string { return time.Duration(s).String() }

// MarshalJSON writes seconds with a fraction.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.Duration(s).Seconds())
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Seconds) UnmarshalJSON(data []byte) error {
	var seconds float64
	if err := json.Unmarshal(data, &seconds); err != nil {
		return fmt.Errorf("duration in seconds: %w", err)
	}
	*s = Seconds(math.Round(seconds * float64(time.Second)))
	return nil
}

// Status is a snapshot of a host. Counters count since its start.
type Status struct {
	Host         Host             `json:"host"`
	Mode         eventsystem.Mode `json:"mode"`
	ModeOverride bool             `json:"mode_override"` // an operator chose it, not the file
	Health       Health           `json:"health"`
	Namespaces   []Namespace      `json:"namespaces"`
	Plugins      []Plugin         `json:"plugins"`
	Events       Events           `json:"events"`
	Listener     Listener         `json:"listener"`
	Poller       Poller           `json:"poller"`
	Retention    Retention        `json:"retention"`
	Buffers      []Buffer         `json:"buffers"`
}

// Host is the process.
type Host struct {
	ID        string    `json:"id"`
	Version   string    `json:"version"`
	PID       int       `json:"pid"`
	StartedAt time.Time `json:"started_at"`
	Uptime    Seconds   `json:"uptime_seconds"`
	Draining  bool      `json:"draining"`
}

// Health says how the host is, and why.
type Health struct {
	// Status is Healthy, Degraded, Warning or Critical.
	Status     string      `json:"status"`
	Reasons    []string    `json:"reasons,omitempty"`
	Components []Component `json:"components,omitempty"`
}

// HealthCritical is the status that makes /health answer 503.
const HealthCritical = "Critical"

// Component is one part's health.
type Component struct {
	Name   string `json:"name"`
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
}

// Namespace is one namespace's lane.
type Namespace struct {
	Name   string `json:"name"`
	Plugin string `json:"plugin"`
	Queue  string `json:"queue"`
	// Leaving means that it was removed, or reads another queue by now, and only
	// finishes its steps.
	Leaving bool `json:"leaving,omitempty"`
	// Paused means that an operator paused it. Blocked says why it does not
	// claim although it is not paused. Faults are what it fails to do in the
	// database, with what to do about it, until it succeeds.
	Paused      bool     `json:"paused"`
	Blocked     string   `json:"blocked,omitempty"`
	Faults      []string `json:"faults,omitempty"`
	Concurrency int      `json:"concurrency"`

	InFlight int `json:"in_flight"`
	// Prefetched are claimed and wait for a slot.
	Prefetched int `json:"prefetched"`
	Settling   int `json:"settling"`
	// Suspects were in flight when the plugin crashed and wait for, or are in,
	// its probation.
	Suspects int `json:"suspects"`

	Succeeded    uint64 `json:"succeeded"`
	Failed       uint64 `json:"failed"` // outcomes that spent the failure budget
	Retried      uint64 `json:"retried"`
	Snoozed      uint64 `json:"snoozed"`
	DeadLettered uint64 `json:"dead_lettered"`
	Released     uint64 `json:"released"`
	LeaseLost    uint64 `json:"lease_lost"`

	// OldestWait is how long the oldest claimable message had been visible at
	// the last look, by the database's clock.
	OldestWait Seconds `json:"oldest_wait_seconds"`
	LastError  string  `json:"last_error,omitempty"`
}

// Plugin is one plugin with its processes.
type Plugin struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	// State is the supervisor's: starting, ready, draining, stopped,
	// backing-off or tripped. Reason says why it is in that state.
	State  string    `json:"state"`
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since,omitzero"`
	// Ready is how many instances are ready.
	Ready int `json:"ready_instances"`
	// NextAttempt is when the next start is tried; absent when none is due.
	NextAttempt time.Time `json:"next_attempt,omitzero"`
	// Restarts, Crashes and FailedStarts are of all instances together; Hangs
	// counts processes that were replaced because a handler ignored its
	// cancellation.
	Restarts     uint64 `json:"restarts"`
	Crashes      uint64 `json:"crashes"`
	FailedStarts uint64 `json:"failed_starts"`
	Hangs        uint64 `json:"hangs"`
	// TimeToReady is how long the latest start took that succeeded; 0 until one
	// has.
	TimeToReady Seconds    `json:"time_to_ready_seconds"`
	Breaker     Breaker    `json:"breaker"`
	Steps       []string   `json:"steps,omitempty"`
	Instances   []Instance `json:"instances"`
	// Generation counts the versions that ran here, from 1. The counts above are
	// of this one.
	Generation int `json:"generation"`
	// Replaced are processes with a handler that hangs which have not ended yet.
	Replaced []Replaced `json:"replaced,omitempty"`
	// Retiring are older generations that finish their steps.
	Retiring []Retiring `json:"retiring,omitempty"`
}

// Replaced is a process that takes no more steps because a handler hangs in
// it; its other steps may finish.
type Replaced struct {
	Index    int    `json:"index"`
	PID      int    `json:"pid"`
	InFlight int    `json:"in_flight"`
	Reason   string `json:"reason"`
}

// Retiring is a generation that takes no more steps.
type Retiring struct {
	Generation int       `json:"generation"`
	Version    string    `json:"version,omitempty"`
	State      string    `json:"state"`
	Reason     string    `json:"reason,omitempty"`
	Since      time.Time `json:"since,omitzero"`
	PIDs       []int     `json:"pids,omitempty"`
	InFlight   int       `json:"in_flight"`
}

// Swap is how a new version of a plugin took the place of the old one.
type Swap struct {
	Plugin string        `json:"plugin"`
	Old    PluginVersion `json:"old"`
	New    PluginVersion `json:"new"`
	// Took is the time until the new version served.
	Took Seconds `json:"took_seconds"`
}

// PluginVersion is one generation of a plugin.
type PluginVersion struct {
	Generation int `json:"generation"`
	// Version is what the plugin calls itself; absent if it never came up.
	Version string `json:"version,omitempty"`
	PIDs    []int  `json:"pids,omitempty"`
}

// Breaker says how far a plugin is from tripping: Crashes, failed starts among
// them, within the last Window, of which MaxCrashes trip it.
type Breaker struct {
	Crashes    int     `json:"crashes"`
	MaxCrashes int     `json:"max_crashes"`
	Window     Seconds `json:"window_seconds"`
	// Open means that the plugin has tripped and has not been seen to work since.
	Open bool `json:"open"`
}

// Instance is one process of a plugin.
type Instance struct {
	Index int `json:"index"`
	// Probation marks the place where suspects of a crash run apart.
	Probation bool   `json:"probation,omitempty"`
	PID       int    `json:"pid,omitempty"`
	State     string `json:"state"`
	Reason    string `json:"reason,omitempty"`
	InFlight  int    `json:"in_flight"`
	Restarts  int    `json:"restarts"`
	// NextAttempt is when its next start is tried; absent when none is due.
	NextAttempt time.Time `json:"next_attempt,omitzero"`
	// LastError is why its last process ended or could not start; absent once
	// another one is ready.
	LastError string `json:"last_error,omitempty"`
}

// Events are the event system's statistics.
type Events struct {
	SystemID      string            `json:"system_id"`
	Processed     uint64            `json:"processed"`
	Failed        uint64            `json:"failed"`
	Rate          float64           `json:"rate_per_second"`
	Latency       Seconds           `json:"latency_seconds"` // mean of a recent window
	Effectiveness float64           `json:"mode_effectiveness"`
	ByType        map[string]uint64 `json:"by_type,omitempty"`
	LastEventAt   time.Time         `json:"last_event_at,omitzero"`
}

// Listener is the notification connection.
type Listener struct {
	Running       bool      `json:"running"`
	Connected     bool      `json:"connected"`
	Queues        int       `json:"queues"`
	Notifications uint64    `json:"notifications"`
	Coalesced     uint64    `json:"coalesced"`
	Malformed     uint64    `json:"malformed"`
	Reconnects    uint64    `json:"reconnects"`
	LastEventAt   time.Time `json:"last_event_at,omitzero"`
	LastError     string    `json:"last_error,omitempty"`
}

// Poller is the fallback poller.
type Poller struct {
	Running    bool      `json:"running"`
	Polls      uint64    `json:"polls"`
	Failed     uint64    `json:"failed"`
	Found      uint64    `json:"found"` // queues with work, summed over all polls
	LastPollAt time.Time `json:"last_poll_at,omitzero"`
	NextPoll   Seconds   `json:"next_poll_seconds"`
	LastError  string    `json:"last_error,omitempty"`
}

// Retention is what becomes of old messages. Without rules everything is kept.
type Retention struct {
	Running   bool            `json:"running"` // deleting, or looking what to delete
	Runs      uint64          `json:"runs"`
	LastRunAt time.Time       `json:"last_run_at,omitzero"`
	Rules     []RetentionRule `json:"rules,omitempty"`
}

// RetentionRule is what is kept of a queue's archive or dead letters, and what
// this host deleted. Absent limits do not apply.
type RetentionRule struct {
	Kind      string  `json:"kind"` // archive or dead_letters
	Queue     string  `json:"queue"`
	MaxAge    Seconds `json:"max_age_seconds,omitempty"`
	MaxRows   int64   `json:"max_rows,omitempty"`
	MaxBytes  int64   `json:"max_bytes,omitempty"`
	Deleted   uint64  `json:"deleted"` // rows
	Errors    uint64  `json:"errors"`
	LastError string  `json:"last_error,omitempty"`
}

// Buffer is a bounded buffer and how full it is.
type Buffer struct {
	Name  string `json:"name"`
	Used  int64  `json:"used"`
	Limit int64  `json:"limit"`
	Unit  string `json:"unit"` // items or bytes
}

// ModeState is the answer of /mode.
type ModeState struct {
	Mode     eventsystem.Mode `json:"mode"`
	Override bool             `json:"override"`
}

// Summary is the answer of /health.
type Summary struct {
	Health
	Live  bool `json:"live"`
	Ready bool `json:"ready"`
}

// Check is the answer of /health/live and /health/ready.
type Check struct {
	OK      bool     `json:"ok"`
	Reasons []string `json:"reasons,omitempty"`
}
