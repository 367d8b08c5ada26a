package fleet

import (
	"errors"
	"fmt"
	"strings"
)

// ErrStopped is why a fleet starts no generation after Stop.
var ErrStopped = errors.New("the plugins are being stopped")

// BusyError refuses a change of a plugin that is being changed.
type BusyError struct{ Plugin string }

func (e *BusyError) Error() string {
	return fmt.Sprintf("plugin %q is being changed already: wait until that is done", e.Plugin)
}

// UnknownPluginError is about a plugin that the fleet does not have.
type UnknownPluginError struct{ Plugin string }

func (e *UnknownPluginError) Error() string { return fmt.Sprintf("there is no plugin %q", e.Plugin) }

// ChangeError is a new generation that did not come up.
type ChangeError struct {
	// Err is why: most often a *supervisor.StartError.
	Err error
	// Restarted are the plugins whose old generation had made room and whose old
	// spec was started again; Restart is what went wrong with that, or nil. All
	// others have not been touched.
	Restarted []string
	Restart   error
	// Idle says that an old generation that was left alone does not serve either:
	// it backs off, say.
	Idle bool
}

func (e *ChangeError) Error() string {
	switch {
	case e.Restart != nil:
		return fmt.Sprintf("the old version was started again and did not come up either (%v): %v", e.Restart, e.Err)
	case len(e.Restarted) > 0:
		return fmt.Sprintf("the old version of %s was started again: %v", strings.Join(e.Restarted, ", "), e.Err)
	case e.Idle:
		return fmt.Sprintf("nothing has changed: %v", e.Err)
	default:
		return fmt.Sprintf("the old version serves on: %v", e.Err)
	}
}

func (e *ChangeError) Unwrap() error { return e.Err }
