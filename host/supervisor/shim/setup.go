package shim

import (
	"encoding/json"
	"fmt"
	"syscall"
)

// Setup is what is done to the plugin's process before its program runs, and
// to no other process. Its zero value changes nothing.
type Setup struct {
	// Dir is the working directory; empty: the host's.
	Dir string `json:"dir,omitempty"`
	// Identity is whom the plugin runs as; nil: the host's user.
	Identity *Identity `json:"identity,omitempty"`
	// Limits are set hard and soft, so that the plugin cannot raise them.
	Limits []Limit `json:"limits,omitempty"`
	// Cgroup is the descriptor of the cgroup v2 directory that the process
	// joins; 0: it stays in the host's.
	Cgroup int `json:"cgroup,omitempty"`
}

// Identity is a user and a group. Supplementary groups are dropped.
type Identity struct {
	UID int `json:"uid"`
	GID int `json:"gid"`
}

// Limit is one of the operating system's resource limits for a process.
type Limit struct {
	Name  LimitName `json:"name"`
	Value uint64    `json:"value"`
}

// LimitName is a limit as configuration files call it.
type LimitName string

// The limits.
const (
	LimitOpenFiles LimitName = "open_files"
	LimitProcesses LimitName = "processes"
	LimitFileSize  LimitName = "file_size"
	LimitCore      LimitName = "core"
)

func (s Setup) empty() bool {
	return s.Dir == "" && s.Identity == nil && len(s.Limits) == 0 && s.Cgroup == 0
}

// Arguments is what the shim's command is followed by: the setup, the path to
// execute, and the plugin's arguments, the zeroth first.
func Arguments(setup Setup, path string, argv []string) ([]string, error) {
	encoded, err := json.Marshal(setup)
	if err != nil {
		return nil, fmt.Errorf("encode the setup: %w", err)
	}
	return append([]string{string(encoded), path}, argv...), nil
}

// The parts of a setup that can fail. The report names them by their position
// here.
const (
	stepExec = iota
	stepCgroup
	stepLimit
	stepIdentity
	stepDir
)

// SetupError is a setup that the system refused; the program has not run.
type SetupError struct {
	// What was being done, as in "set the limit open_files to 4096".
	What string
	// Cgroup says that it was the joining of the cgroup.
	Cgroup bool
	Errno  syscall.Errno
}

func (e *SetupError) Error() string { return e.What + ": " + e.Errno.Error() }

func (e *SetupError) Unwrap() error { return e.Errno }

// explain tells what a failed step of this setup was. n is the position of a
// limit.
func (s Setup) explain(step, n int, errno syscall.Errno) error {
	e := &SetupError{Errno: errno}
	switch {
	case step == stepCgroup:
		e.What, e.Cgroup = "join its cgroup", true
	case step == stepLimit && n < len(s.Limits):
		l := s.Limits[n]
		e.What = fmt.Sprintf("set the limit %s to %d", l.Name, l.Value)
	case step == stepIdentity && s.Identity != nil:
		e.What = fmt.Sprintf("run as uid %d and gid %d", s.Identity.UID, s.Identity.GID)
	case step == stepDir:
		e.What = fmt.Sprintf("change to the directory %s", s.Dir)
	default:
		return errno
	}
	return e
}
