package supervisor

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/stephost/stephost/host/supervisor/pluginlog"
	"github.com/stephost/stephost/host/supervisor/shim"
	"github.com/stephost/stephost/queues"
)

// ErrStopped is why a plugin is not ready after Stop, and the cause of the steps
// that are lost by it.
var ErrStopped error = stoppedError{}

type stoppedError struct{}

func (stoppedError) Error() string { return "the plugin is stopped" }

// Bystander reports that no step has stopped the plugin.
func (stoppedError) Bystander() bool { return true }

// StartError is a start that did not lead to a ready process.
type StartError struct {
	Plugin   string
	Instance int
	PID      int // 0: it did not come to be
	// Exit is how the process ended by itself, or nil.
	Exit *shim.Exit
	// Stderr holds the last lines that it wrote, and the head of a trace that
	// they belong to.
	Stderr []string
	Err    error
}

func (e *StartError) Error() string {
	return fmt.Sprintf("start plugin %q: %s", e.Plugin, e.what()) + lastLines(e.Stderr)
}

// what is the error without its place.
func (e *StartError) what() string {
	if e.Exit != nil {
		return fmt.Sprintf("%v (%v)", e.Err, *e.Exit)
	}
	return e.Err.Error()
}

func (e *StartError) short() string { return "its start failed: " + e.what() }

func (e *StartError) Unwrap() error { return e.Err }

// CrashError is a process that ended, or had to be killed, while it was ready.
// It is the cause of lost steps.
type CrashError struct {
	Plugin   string
	Instance int
	PID      int
	// Exit is how the process ended. Where the host killed it, Err says why.
	Exit shim.Exit
	// Stderr holds the last lines that it wrote, and the head of a trace that
	// they belong to.
	Stderr []string
	// InFlight is how many steps had been sent to the process and were not
	// answered.
	InFlight int
	// PluginAtFault: so many other messages have crashed it before, each alone,
	// and no step has had an outcome since, that it is no message's doing.
	PluginAtFault bool
	Err           error
}

// Alone reports whether a single step was with the process when it ended: then
// that step has crashed it, unless any other would have.
func (e *CrashError) Alone() bool { return e.InFlight == 1 && !e.PluginAtFault }

// Error is one line, since it is kept with messages. Report has it all.
func (e *CrashError) Error() string {
	return fmt.Sprintf("plugin %q (instance %d, pid %d) %s", e.Plugin, e.Instance, e.PID, e.what())
}

// what is the error without its place.
func (e *CrashError) what() string {
	text := fmt.Sprintf("crashed: %v", e.Exit)
	if e.Err != nil {
		text = fmt.Sprintf("failed: %v", e.Err)
	}
	for _, line := range e.Stderr {
		if pluginlog.IsPanic(line) {
			return text + ": " + queues.Text(line, 200)
		}
	}
	return text
}

func (e *CrashError) short() string { return "it " + e.what() }

// Report is the error with the last lines from stderr.
func (e *CrashError) Report() string {
	return e.Error() + lastLines(e.Stderr)
}

// lastLines ends a report. Logs would show tabs, which traces have, as \t.
func lastLines(stderr []string) string {
	if len(stderr) == 0 {
		return ""
	}
	const indent = "\n    "
	return "; its last lines on stderr:" + indent + strings.ReplaceAll(strings.Join(stderr, indent), "\t", "    ")
}

// traceBytes bounds Trace where it is no trace: about what is kept with a message.
const traceBytes = 4 << 10

// Trace is what is worth keeping of the last lines from stderr: the trace of a
// panic from its beginning, or else the very last lines.
func (e *CrashError) Trace() string {
	lines := e.Stderr
	if at := slices.IndexFunc(lines, pluginlog.IsPanic); at >= 0 {
		return strings.Join(lines[at:], "\n")
	}
	for size, at := 0, len(lines)-1; at >= 0; at-- {
		if size += len(lines[at]) + 1; size > traceBytes {
			lines = lines[at+1:]
			break
		}
	}
	return strings.Join(lines, "\n")
}

func (e *CrashError) Unwrap() error { return e.Err }

// ConfigError is a plugin whose configuration is refused, by the schema or by
// the plugin. Starting it again changes nothing until the file or what the
// plugin depends on has changed.
type ConfigError struct{ Err error }

func (e *ConfigError) Error() string { return "configure: " + e.Err.Error() }

func (e *ConfigError) Unwrap() error { return e.Err }

// ProgramError is a command that cannot be executed, or is not the pinned one.
type ProgramError struct {
	Command string
	Err     error
}

func (e *ProgramError) Error() string { return fmt.Sprintf("execute %s: %v", e.Command, e.Err) }

func (e *ProgramError) Unwrap() error { return e.Err }

// inShort is an error as a status has it, which names plugin and instance
// already: one line.
func inShort(err error) string {
	text := err.Error()
	var shorter interface{ short() string }
	if errors.As(err, &shorter) {
		text = shorter.short()
	}
	line, _, _ := strings.Cut(text, "\n")
	return line
}
