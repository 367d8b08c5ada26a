package supervisor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// Spec says what to run and how. Zero durations and counts mean the defaults.
type Spec struct {
	Name string
	// Command is the program's absolute path.
	Command string
	Args    []string
	// Env is added to PATH, HOME and TMPDIR, and so are those variables of the
	// host's environment that EnvFrom names and that are set at the start; Env
	// wins. Nothing else of the host's environment is passed on.
	Env     map[string]string
	EnvFrom []string
	// SHA256 pins the program, in lower-case hex; empty: not pinned. On Linux
	// the verified file itself is executed, by its descriptor, so that nobody
	// can replace it in between, and a lease keeps others from writing into it
	// where the host's user owns it or is root. Elsewhere a gap remains between
	// the check and the execution.
	SHA256 string
	// Dir is the working directory, as an absolute path. Empty: the host's.
	Dir string
	// User and Group are whom the plugin runs as, by name or number; the
	// default group is the user's. They need a host that runs as root.
	User, Group string
	Limits      Limits
	// Instances is the number of processes. Default 1.
	Instances int
	// DisableTLS connects in the clear: for debuggers and for languages
	// without go-plugin's AutoMTLS.
	DisableTLS bool
	// Attach is a process that somebody else has started, to connect to instead
	// of executing the command: under a debugger, say. There is one, without TLS;
	// nothing of it is supervised, no deadline but that of Stop is kept, and it is
	// never killed.
	Attach *protocol.Attachment
	// Swap is how a new version takes the place of this one. Default: overlap.
	Swap     Swap
	Restart  Restart
	Timeouts Timeouts
	// Hold says why no process is to be started, as when the program is still to
	// be made; the plugin is stopped from the outset. Empty: start.
	Hold string
	// Generation numbers the versions of the plugin, from 1; the log names it.
	Generation int
	// LogLevel is what the plugin is asked to log from, where Deps have none.
	// Default "info".
	LogLevel string

	// Configure returns the config block as JSON of the described schema. It
	// is called at every start. An error is a [ConfigError]. Nil: no config.
	Configure func(context.Context, *pluginv1.DescribeResponse) ([]byte, error)
	// Diagnose turns a plugin's complaints about its config into an error that
	// points into the user's file. Nil: they are shown as they are. It is
	// called with errors and warnings; nil means that nothing is wrong enough.
	Diagnose func([]*pluginv1.Diagnostic) error
}

// Swap is how one generation of a plugin follows another.
type Swap string

// The ways to swap. With SwapStopFirst there is never more than one generation
// of the plugin's processes, for one that needs something for itself alone.
const (
	SwapOverlap   Swap = "overlap"
	SwapStopFirst Swap = "stop_first"
)

// Restart is the policy after a crash or a failed start.
type Restart struct {
	BackoffInitial time.Duration // default 500 ms
	BackoffMax     time.Duration // default 30 s
	// MaxCrashes within Window trip the plugin, all instances together; it
	// probes again after another Window. Defaults 5 and 2 minutes.
	MaxCrashes int
	Window     time.Duration
}

// Timeouts bound every wait for a plugin.
type Timeouts struct {
	Start     time.Duration // until the handshake line, and for Describe; default 10 s
	Configure time.Duration // default 30 s
	// A process is asked every HealthInterval and killed when it does not
	// answer within Health. Defaults 5 s and 10 s.
	HealthInterval time.Duration
	Health         time.Duration
	// Send is for one batch to be taken by the process; default 30 s.
	Send time.Duration
	// Retire is for the other steps of a process that is replaced because one of
	// its handlers hangs; what has not finished then is lost. Default 20 s.
	Retire time.Duration
	// Stop is for the process to end when it is asked to; then its group is
	// killed. Default 5 s.
	Stop time.Duration
}

// Deps are what the composition root provides.
type Deps struct {
	Logger hclog.Logger
	// Shim is the command that runs shim.Main with the arguments that are
	// appended: the host's own binary and shim.Command.
	Shim []string
	// LogLevel is what plugins are asked to log from, also when it changes. Nil:
	// Spec.LogLevel, for good.
	LogLevel *LogLevel
	// HostVersion is told to plugins.
	HostVersion string
	// SocketDir is where socket directories are made. Default: os.TempDir.
	SocketDir string
	// Clock is for the restart policy. Default: the real one.
	Clock Clock
}

// Clock tells and waits.
type Clock interface {
	Now() time.Time
	After(time.Duration) <-chan time.Time
}

type realClock struct{}

func (realClock) Now() time.Time                         { return time.Now() }
func (realClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

func orDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// complete fills in defaults and checks what cannot be right.
func (s *Spec) complete() error {
	if s.Name == "" {
		return errors.New("a plugin needs a name")
	}
	if !filepath.IsAbs(s.Command) {
		return fmt.Errorf("the command %q is not an absolute path", s.Command)
	}
	if s.Dir != "" && !filepath.IsAbs(s.Dir) {
		return fmt.Errorf("the working directory %q is not an absolute path", s.Dir)
	}
	for _, name := range slices.Concat(slices.Collect(maps.Keys(s.Env)), s.EnvFrom) {
		if protocol.ReservedEnv(name) {
			return fmt.Errorf("the environment variable %s is reserved", name)
		}
	}
	orDefault(&s.Instances, 1)
	orDefault(&s.Swap, SwapOverlap)
	orDefault(&s.LogLevel, "info")
	orDefault(&s.Limits.Cgroup, CgroupOff)
	orDefault(&s.Restart.BackoffInitial, 500*time.Millisecond)
	orDefault(&s.Restart.BackoffMax, 30*time.Second)
	orDefault(&s.Restart.MaxCrashes, 5)
	orDefault(&s.Restart.Window, 2*time.Minute)
	orDefault(&s.Timeouts.Start, 10*time.Second)
	orDefault(&s.Timeouts.Configure, 30*time.Second)
	orDefault(&s.Timeouts.HealthInterval, 5*time.Second)
	orDefault(&s.Timeouts.Health, 10*time.Second)
	orDefault(&s.Timeouts.Send, 30*time.Second)
	orDefault(&s.Timeouts.Retire, 20*time.Second)
	orDefault(&s.Timeouts.Stop, 5*time.Second)
	return nil
}

func (d *Deps) complete() error {
	if len(d.Shim) == 0 {
		return errors.New("the shim's command is not set")
	}
	if d.Logger == nil {
		d.Logger = hclog.NewNullLogger()
	}
	if d.Clock == nil {
		d.Clock = realClock{}
	}
	return nil
}
