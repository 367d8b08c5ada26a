package supervisor

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/stephost/stephost/host/supervisor/shim"
	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// Session is one process of a plugin for a caller that speaks the protocol to
// it by itself, as a conformance check does. It is started as a [Plugin] starts
// its processes, through the shim too, but nothing watches or restarts it. The
// caller closes it. Its methods are safe for concurrent use.
type Session struct {
	proc     *process
	deps     *Deps
	counters counters
	close    sync.Once
}

// OpenSession executes the program, reads its handshake line and connects. It
// calls none of the plugin's methods. Spec.Restart and Spec.Instances have no
// meaning here. The error is a [*StartError], and nothing is left then; ctx
// aborts the start only.
func OpenSession(ctx context.Context, spec Spec, deps Deps) (*Session, error) {
	if err := errors.Join(spec.complete(), deps.complete()); err != nil {
		return nil, fmt.Errorf("start plugin %q: %w", spec.Name, err)
	}
	s := &Session{deps: &deps}
	s.proc = newProcess(&spec, 0, deps.Logger.With("plugin", spec.Name), &s.counters)
	if err := s.proc.launch(ctx, s.deps); err != nil {
		return nil, s.proc.abort(err)
	}
	return s, nil
}

// Introduce calls Describe, Configure and Health with the deadlines, the
// config and the diagnosis of the spec, as a host does after each start. It
// returns the description that is in force then. The caller still has to close
// the session after an error, which may be a [*ConfigError].
func (s *Session) Introduce(ctx context.Context) (*pluginv1.DescribeResponse, error) {
	if err := s.proc.greet(ctx, s.deps); err != nil {
		return nil, fmt.Errorf("plugin %q: %w", s.proc.spec.Name, err)
	}
	return s.proc.described, nil
}

// Client speaks to the process. Its calls have no deadlines but the caller's.
func (s *Session) Client() *protocol.Client { return s.proc.api }

// Handshake is the line by which the process introduced itself.
func (s *Session) Handshake() Handshake { return s.proc.runner.introduced() }

// PID is the process id.
func (s *Session) PID() int { return s.proc.runner.pid() }

// Exited is closed when the process has ended; Exit is valid then.
func (s *Session) Exited() <-chan struct{} { return s.proc.runner.process().exited }

// Exit is how the process ended.
func (s *Session) Exit() shim.Exit { return s.proc.runner.process().exit }

// Stderr has the last lines that the process wrote there.
func (s *Session) Stderr() []string { return s.proc.output.Last() }

// Stop asks the process to end, as a host does once the streams are drained:
// by go-plugin's Shutdown or, where that is not implemented, by SIGTERM. It
// waits for Timeouts.Stop or until ctx ends, and reports whether the process
// ended by itself. The session has to be closed in any case.
func (s *Session) Stop(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, s.proc.spec.Timeouts.Stop)
	defer cancel()
	return s.proc.askToEnd(ctx)
}

// Abandon does what the death of a host does: the connection is cut and the
// shim is let go of, which kills the process group. It returns when the
// process has been reaped.
func (s *Session) Abandon() error {
	_ = s.proc.api.Conn.Close()
	return s.proc.runner.process().kill()
}

// Close kills what is left of the process group and joins everything that
// belongs to the session. It may be called more than once.
func (s *Session) Close() { s.close.Do(func() { s.proc.bury(ErrStopped) }) }
