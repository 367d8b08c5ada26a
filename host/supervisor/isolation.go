package supervisor

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"syscall"

	"github.com/hashicorp/go-hclog"

	"github.com/stephost/stephost/host/internal/identity"
	"github.com/stephost/stephost/host/supervisor/cgroup"
	"github.com/stephost/stephost/host/supervisor/shim"
)

// Limits bound what one process of a plugin may use. Zero means no limit
// beyond those of the host.
type Limits struct {
	// CPUs is how many processors' worth of time. It is GOMAXPROCS, rounded up,
	// and the bandwidth of the cgroup.
	CPUs float64
	// Memory is in bytes. Nine tenths of it are GOMEMLIMIT, which makes Go's
	// collector work harder and ends nothing; all of it is the cgroup's limit,
	// at which the kernel kills. There is no RLIMIT_AS: it counts reserved
	// addresses, of which Go and others take far more than they use.
	Memory int64
	// OpenFiles, Processes, FileSize and Core are the system's limits for a
	// process, hard and soft. Processes counts threads too, all those of the
	// user wherever they run, and does not bind root; in a cgroup it counts
	// those of the plugin. FileSize and Core are in bytes; *Core may be zero.
	OpenFiles int
	Processes int
	FileSize  int64
	Core      *int64
	// Cgroup says whether each process gets a cgroup. Default CgroupOff.
	Cgroup CgroupMode
}

// CgroupMode says whether each process gets a cgroup, version 2.
type CgroupMode string

// The modes.
const (
	CgroupOff CgroupMode = "off"
	// CgroupAuto goes without where the machine does not allow it, and logs
	// why.
	CgroupAuto CgroupMode = "auto"
	// CgroupRequire fails the start then.
	CgroupRequire CgroupMode = "require"
)

// isolation is what the process of a spec is started with.
type isolation struct {
	spec  *Spec
	id    *identity.Identity // nil: the host's own
	setup shim.Setup
	env   []string
}

// isolate resolves what depends on the machine.
func (s *Spec) isolate() (*isolation, error) {
	i := &isolation{spec: s}
	if s.User != "" || s.Group != "" {
		id, err := identity.Resolve(s.User, s.Group)
		if err != nil {
			return nil, &ProgramError{Command: s.Command, Err: err}
		}
		i.id = &id
	}
	i.setup, i.env = s.setup(i.id), s.environment(i.id)
	return i, nil
}

// setup is what the shim does to the process.
func (s *Spec) setup(id *identity.Identity) shim.Setup {
	setup := shim.Setup{Dir: s.Dir}
	if id != nil {
		setup.Identity = &shim.Identity{UID: id.UID, GID: id.GID}
	}
	add := func(name shim.LimitName, value int64) {
		setup.Limits = append(setup.Limits, shim.Limit{Name: name, Value: uint64(value)}) //nolint:gosec // never negative
	}
	l := s.Limits
	if l.OpenFiles > 0 {
		add(shim.LimitOpenFiles, int64(l.OpenFiles))
	}
	if l.FileSize > 0 {
		add(shim.LimitFileSize, l.FileSize)
	}
	if l.Core != nil {
		add(shim.LimitCore, *l.Core)
	}
	if l.Processes > 0 {
		add(shim.LimitProcesses, int64(l.Processes))
	}
	return setup
}

// environment is the minimal environment, what the limits mean for Go, and
// what the user added.
func (s *Spec) environment(id *identity.Identity) []string {
	values := make(map[string]string)
	for _, name := range append([]string{"PATH", "HOME", "TMPDIR"}, s.EnvFrom...) {
		if value, ok := os.LookupEnv(name); ok {
			values[name] = value
		}
	}
	if id != nil && s.User != "" {
		// The host's is not this user's.
		values["HOME"] = "/"
		if id.Home != "" {
			values["HOME"] = id.Home
		}
	}
	preset := func(name, value string) {
		if _, given := values[name]; !given {
			values[name] = value
		}
	}
	if s.Limits.CPUs > 0 {
		preset("GOMAXPROCS", strconv.Itoa(int(math.Ceil(s.Limits.CPUs))))
	}
	if s.Limits.Memory > 0 {
		preset("GOMEMLIMIT", strconv.FormatInt(s.Limits.Memory/10*9, 10))
	}
	for name, value := range s.Env {
		values[name] = value
	}
	env := make([]string, 0, len(values))
	for name, value := range values {
		env = append(env, name+"="+value)
	}
	return env
}

// own gives a file or directory to whom the plugin runs as.
func (i *isolation) own(path string) error {
	if i.id == nil {
		return nil
	}
	return os.Chown(path, i.id.UID, i.id.GID)
}

// start executes the program, in a cgroup of its own where the spec wants it.
// Its environment is the isolation's and more.
func (i *isolation) start(deps *Deps, prog program, more []string, log hclog.Logger) (*child, error) {
	l := launch{
		shim: deps.Shim, prog: prog, setup: i.setup, timeout: i.spec.Timeouts.Start,
		args: append([]string{i.spec.Command}, i.spec.Args...),
		env:  slices.Concat(i.env, more),
	}
	c, err := i.startIn(l, log)
	prog.executed()
	if err != nil {
		return nil, explainExec(i.spec.Command, err)
	}
	return c, nil
}

func (i *isolation) startIn(l launch, log hclog.Logger) (*child, error) {
	if i.spec.Limits.Cgroup == CgroupOff {
		return startChild(l)
	}
	c, err := i.startInCgroup(l)
	if err == nil || i.spec.Limits.Cgroup == CgroupRequire || !isCgroupError(err) {
		return c, err
	}
	log.Warn("plugin runs without a cgroup of its own", "reason", err)
	return startChild(l)
}

func (i *isolation) startInCgroup(l launch) (*child, error) {
	limits := i.spec.Limits
	leaf, err := cgroup.Create(i.spec.Name, cgroup.Limits{CPUs: limits.CPUs, Memory: limits.Memory, Processes: limits.Processes})
	if err != nil {
		return nil, &cgroupError{err}
	}
	l.leaf = leaf
	c, err := startChild(l)
	if err != nil {
		return nil, errors.Join(err, leaf.Remove())
	}
	return c, nil
}

// cgroupError is a cgroup that cannot be had.
type cgroupError struct{ err error }

func (e *cgroupError) Error() string { return "no cgroup of its own: " + e.err.Error() }

func (e *cgroupError) Unwrap() error { return e.err }

func isCgroupError(err error) bool {
	var own *cgroupError
	var setup *shim.SetupError
	return errors.As(err, &own) || errors.As(err, &setup) && setup.Cgroup
}

// explainSetup says what a refusal means.
func explainSetup(err *shim.SetupError) error {
	switch {
	case err.Cgroup || !errors.Is(err, syscall.EPERM):
		return err
	default:
		return fmt.Errorf("%w: the host's own limit is lower, or only root may do this", err)
	}
}
