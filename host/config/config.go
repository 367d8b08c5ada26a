// Package config reads the host's HCL file into typed values. Every
// diagnostic carries file, line, column and the source line; all of them are
// reported at once.
//
// # Invariants
//
//   - Every key has a default here and nowhere else, and changes behaviour.
//   - Unknown keys are errors.
//   - Values that came from a secret are never printed.
package config

import (
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/stephost/stephost/eventsystem"
)

// Config is a whole file, with all defaults filled in.
type Config struct {
	Host        Host
	Queue       Queue
	EventSystem EventSystem
	// Plugins and Namespaces are in the order of the file.
	Plugins    []Plugin
	Namespaces []Namespace

	// Files are the sources, by name, for Print. They are there also when the
	// file has errors.
	Files map[string]*hcl.File

	// written has the keys that the file writes, by path.
	written map[string]writtenKey
}

// Host describes the process.
type Host struct {
	ID        string
	LogLevel  string // trace, debug, info, warn, error, off
	LogFormat string // text or json
	Admin     Admin
	Shutdown  Shutdown
}

// Admin is the HTTP endpoint.
type Admin struct {
	Listen string // host:port; empty switches it off
	Token  Secret // required beyond loopback
}

// Shutdown bounds the drain, and the end of a process with a handler that
// hangs.
type Shutdown struct {
	DrainTimeout time.Duration // for handlers to finish
	KillTimeout  time.Duration // after cancellation, before the kill
}

// Queue is the one queue store. Its label names the kind: "pgmq".
type Queue struct {
	Kind           string
	DSN            Secret // empty: `stephost dev` starts a database; others must complain
	ListenDSN      Secret // empty: DSN
	QueueName      string // template with {namespace}
	Notifications  string // auto, pgmq, tasker
	OnComplete     string // archive, delete
	MaxConnections int
	Archive        Archive
}

// Archive says how much of a queue's archive is kept: what is within all of
// them. Zero is no limit.
type Archive struct {
	Retain  time.Duration // since a message was archived
	MaxRows int64         // the newest
	MaxSize int64         // bytes of bodies and headers, by a sample
}

// EventSystem is the event_system block, under the seed's names.
type EventSystem struct {
	SystemID                string
	DeploymentMode          eventsystem.Mode
	HealthMonitoringEnabled bool
	HealthCheckInterval     time.Duration
	MaxConcurrentProcessors int
	ProcessingTimeout       time.Duration
	Listener                Listener
	FallbackPoller          FallbackPoller
	Buffers                 Buffers
}

// Listener configures the event path.
type Listener struct {
	Enabled           bool
	BatchProcessing   bool
	ConnectionTimeout time.Duration
	RetryInterval     time.Duration
	SafetySweep       time.Duration
}

// FallbackPoller configures the poll path and, under the seed's names, claims:
// BatchSize is the most that one claim takes and VisibilityTimeout the lease.
type FallbackPoller struct {
	Enabled           bool
	PollingInterval   time.Duration
	BatchSize         int
	VisibilityTimeout time.Duration
}

// Buffers bounds what the host holds.
type Buffers struct {
	Events      int   // events waiting for the event system
	Settlements int   // outcomes waiting to be settled, per namespace
	Bytes       int64 // message bodies held at once
}

// Plugin is a plugin block.
type Plugin struct {
	Name      string
	Command   string // absolute after loading
	Args      []string
	SHA256    string // lower-case hex; empty: not pinned
	Env       map[string]Secret
	EnvFrom   []string // names of the host's variables that are passed on
	CWD       string   // absolute after loading; empty: the host's
	User      string   // name or number; empty: the host's
	Group     string   // name or number; empty: the user's
	Instances int
	TLS       string // auto, off
	Swap      string // overlap, stop_first
	Watch     bool   // a changed program is a new version
	Restart   Restart
	Limits    Limits

	// Package tells that Command is the directory of a Go package; see
	// WithPackages.
	Package bool

	// Body is the undecoded config block, or nil: its schema is known only once
	// the plugin has described itself. EvalContext is what its expressions see.
	Body        hcl.Body
	EvalContext *hcl.EvalContext
	// DeclRange is where the block starts, for diagnostics of later phases;
	// ConfigRange is the header of the config block and CommandRange where the
	// command is written.
	DeclRange    hcl.Range
	ConfigRange  hcl.Range
	CommandRange hcl.Range
}

// Restart is the policy after a crash.
type Restart struct {
	BackoffInitial time.Duration
	BackoffMax     time.Duration
	MaxCrashes     int // within Window
	Window         time.Duration
}

// Limits bound what a process of a plugin may use. Nil and zero: not limited.
type Limits struct {
	CPUs      float64
	Memory    int64 // bytes
	OpenFiles int
	Processes int
	FileSize  int64  // bytes
	Core      *int64 // bytes; may be 0
	Cgroup    string // off, auto, require
}

// Namespace is a namespace block.
type Namespace struct {
	Name        string
	Plugin      string
	Queue       string // resolved: never empty
	Concurrency int
	Timeout     time.Duration // per step; 0: none
	StepKey     string
	ResultQueue string // empty: no results
	DeadLetter  string // resolved: never empty
	// DeadLetterRetain is how long a dead letter is kept; 0: until somebody
	// takes it.
	DeadLetterRetain time.Duration
	// Archive is resolved: where the block leaves something out it has the
	// queue block's.
	Archive   Archive
	Retry     Retry
	DeclRange hcl.Range
}

// Backoff is the shape of the delay between attempts.
type Backoff string

// The shapes.
const (
	BackoffExponential Backoff = "exponential"
	BackoffLinear      Backoff = "linear"
	BackoffFixed       Backoff = "fixed"
)

// Retry is a namespace's retry policy.
type Retry struct {
	MaxAttempts   int
	MaxDeliveries int
	MaxCrashes    int
	Backoff       Backoff
	Initial       time.Duration
	Max           time.Duration
	Jitter        float64 // 0 to 1: the share of the delay that is random
}
