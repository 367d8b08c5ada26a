package sdktest

import (
	"maps"
	"os"
	"time"

	"github.com/stephost/stephost/plugin/sdk"
)

// Option says how the plugin is started.
type Option func(*settings)

type settings struct {
	config string
	// written tells an empty block from none.
	written bool
	lookup  func(string) (string, bool)
}

func newSettings(opts []Option) settings {
	s := settings{lookup: os.LookupEnv}
	for _, opt := range opts {
		opt(&s)
	}
	return s
}

// Config is what the user writes into the plugin's config block, as HCL. It is
// read with the host's own code. Diagnostics call the file config.hcl; the
// line that opens the block is its first, so the snippet begins on the second.
// A line break at the start of the snippet does not count. Without Config the
// plugin has no config block.
func Config(hcl string) Option {
	return func(s *settings) { s.config, s.written = hcl, true }
}

// Env is the environment that the function env sees in the config block,
// instead of that of the test's process. It is for tests that run in parallel.
func Env(variables map[string]string) Option {
	variables = maps.Clone(variables)
	return func(s *settings) {
		s.lookup = func(name string) (string, bool) {
			value, ok := variables[name]
			return value, ok
		}
	}
}

// StepOption says how a step is delivered.
type StepOption func(*delivery)

// delivery is what is told of a step beside its message.
type delivery struct {
	info    sdk.Info
	timeout time.Duration
}

// Attempt says which attempt it is. The default is 1.
func Attempt(n int) StepOption {
	return func(d *delivery) { d.info.Attempt = n }
}

// Info sets what [sdk.StepInfo] tells the handler. Fields that are zero keep
// their defaults: the namespace "test" and its queue, the next message id,
// attempt 1, enqueued just now, the key that a host would make of those, and
// task_uuid, step_uuid and correlation_id from the message. Step and Deadline
// are not read: the step is the call's, the deadline follows from [Timeout].
func Info(info sdk.Info) StepOption {
	return func(d *delivery) {
		if info.Attempt == 0 {
			info.Attempt = d.info.Attempt
		}
		d.info = info
	}
}

// Timeout is the namespace's timeout. The default is that of a namespace, 20
// seconds; 0 means none.
func Timeout(d time.Duration) StepOption {
	return func(to *delivery) { to.timeout = max(d, 0) }
}
