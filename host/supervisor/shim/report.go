package shim

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"syscall"
)

const (
	wordStarted  = "started"
	wordFailed   = "failed"
	wordExited   = "exited"
	wordSignaled = "signaled"
)

// ErrNoReport says that the shim ended without a word; somebody killed it.
var ErrNoReport = errors.New("the plugin's shim was killed")

// Exit is how a plugin process ended.
type Exit struct {
	Code   int
	Signal syscall.Signal // 0 where it was not a signal
	// OutOfMemory says that the kernel killed because the memory of the plugin's
	// cgroup was used up. The shim does not know; the host adds it.
	OutOfMemory bool
}

func (e Exit) String() string {
	if e.OutOfMemory {
		return "out of memory: it reached limits.memory and was killed by the kernel"
	}
	if e.Signal != 0 {
		name := signalName(e.Signal)
		if e.Signal == syscall.SIGKILL {
			return "killed by " + name
		}
		return fmt.Sprintf("killed by %s (%s)", name, e.Signal)
	}
	return fmt.Sprintf("exit status %d", e.Code)
}

// Report reads what the shim writes.
type Report struct {
	lines *bufio.Reader
	setup Setup
}

// NewReport reads from the read end of the report pipe of a shim that was given
// this setup.
func NewReport(r io.Reader, setup Setup) *Report {
	return &Report{lines: bufio.NewReader(r), setup: setup}
}

// Started waits for the plugin's process id. The error is the
// [syscall.Errno] of a failed execution, a [SetupError], or [ErrNoReport].
func (r *Report) Started() (pid int, err error) {
	word, n, step, err := r.next()
	switch {
	case err != nil:
		return 0, err
	case word == wordStarted:
		return n, nil
	case word == wordFailed:
		return 0, r.setup.explain(step[0], step[1], syscall.Errno(n))
	default:
		return 0, ErrNoReport
	}
}

// Ended waits for the plugin's end.
func (r *Report) Ended() (Exit, error) {
	word, n, _, err := r.next()
	switch {
	case err != nil:
		return Exit{}, err
	case word == wordExited:
		return Exit{Code: n}, nil
	case word == wordSignaled:
		return Exit{Signal: syscall.Signal(n)}, nil
	default:
		return Exit{}, ErrNoReport
	}
}

func (r *Report) next() (word string, n int, step [2]int, err error) {
	line, err := r.lines.ReadString('\n')
	if err != nil {
		return "", 0, step, ErrNoReport
	}
	fields, err := fmt.Sscanf(line, "%s %d %d %d", &word, &n, &step[0], &step[1])
	if err != nil && fields != 2 {
		return "", 0, step, ErrNoReport
	}
	return word, n, step, nil
}
