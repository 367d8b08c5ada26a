package sdktest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/plugin/sdk"
)

// Step is a step that the plugin has been given.
type Step struct {
	host *Host
	wire *pluginv1.Step

	mu     sync.Mutex
	limit  *time.Timer           // closes overdue; nil: no limit
	reason pluginv1.CancelReason // the first that was given
	beats  []sdk.Progress
	seen   int // beats that Heartbeat has returned
	result Result
	lost   error

	changed chan struct{} // has room for one signal: another heartbeat
	done    chan struct{} // closed when result or lost is there
	// overdue is closed when a handler goes on long after its context has ended.
	overdue     chan struct{}
	overdueOnce sync.Once
}

// Run delivers a message, waits for its outcome and returns it. An empty step
// routes as a host does: to the step that the message's member "step" names,
// else to the default. message is a JSON object: text as a string, []byte or
// [json.RawMessage], or anything that encodes as one.
//
// It fails the test if the plugin has no such step, and if a handler does not
// return within five seconds after its context has ended: a host would give up
// on it as well.
func (h *Host) Run(step string, message any, opts ...StepOption) Result {
	h.t.Helper()
	return h.Go(step, message, opts...).Wait()
}

// Go delivers a message like Run and does not wait.
func (h *Host) Go(step string, message any, opts ...StepOption) *Step {
	h.t.Helper()
	s := &Step{
		host: h, wire: h.deliver(step, message, opts),
		changed: make(chan struct{}, 1), done: make(chan struct{}), overdue: make(chan struct{}),
	}
	if timeout := time.Duration(s.wire.GetTimeoutMs()) * time.Millisecond; timeout > 0 {
		s.limitTo(timeout + killTimeout)
	}
	if err := h.stream.send(s); err != nil {
		s.stopTimer()
		h.t.Fatalf("step %q: %v", s.wire.GetStep(), err)
	}
	return s
}

// Wait waits for the step's outcome and returns it.
func (s *Step) Wait() Result {
	s.host.t.Helper()
	select {
	case <-s.done:
	case <-s.overdue:
		s.host.t.Fatalf("%s", s.ignored())
	}
	if s.lost != nil {
		s.host.t.Fatalf("step %q: the plugin broke the stream: %v", s.wire.GetStep(), s.lost)
	}
	return s.result
}

// Heartbeat waits for the next progress that the handler reports and returns
// it. It fails the test if the step ends without another report. Of reports in
// quick succession only the last arrives.
func (s *Step) Heartbeat() sdk.Progress {
	s.host.t.Helper()
	for {
		if p, ok := s.nextBeat(); ok {
			return p
		}
		select {
		case <-s.changed:
			continue
		case <-s.overdue:
			s.host.t.Fatalf("%s", s.ignored())
		case <-s.done:
		}
		if p, ok := s.nextBeat(); ok {
			return p
		}
		s.host.t.Fatalf("step %q ended without another heartbeat: %v", s.wire.GetStep(), s.Wait())
	}
}

// Cancel asks the handler to stop, as a host does: its context ends with cause,
// which is one of [sdk.ErrTimeout], [sdk.ErrLeaseLost], [sdk.ErrDraining] and
// [sdk.ErrCancelled]. It does not wait. A step that has ended is left alone.
func (s *Step) Cancel(cause error) {
	s.host.t.Helper()
	reasons := map[error]pluginv1.CancelReason{
		sdk.ErrTimeout:   pluginv1.CancelReason_CANCEL_REASON_TIMEOUT,
		sdk.ErrLeaseLost: pluginv1.CancelReason_CANCEL_REASON_LEASE_LOST,
		sdk.ErrDraining:  pluginv1.CancelReason_CANCEL_REASON_DRAINING,
		sdk.ErrCancelled: pluginv1.CancelReason_CANCEL_REASON_REQUESTED,
	}
	for known, reason := range reasons {
		if errors.Is(cause, known) {
			if err := s.cancel(reason); err != nil {
				s.host.t.Fatalf("cancel step %q: %v", s.wire.GetStep(), err)
			}
			return
		}
	}
	s.host.t.Fatalf("cancel step %q: no host gives this reason: %v", s.wire.GetStep(), cause)
}

func (s *Step) cancel(reason pluginv1.CancelReason) error {
	select {
	case <-s.done:
		return nil
	default:
	}
	s.limitTo(killTimeout)
	s.mu.Lock()
	if s.reason == pluginv1.CancelReason_CANCEL_REASON_UNSPECIFIED {
		s.reason = reason
	}
	s.mu.Unlock()
	return s.host.stream.sendCancel(s, reason)
}

// limitTo sets how long the step may go on from now.
func (s *Step) limitTo(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limit == nil {
		s.limit = time.AfterFunc(d, func() { s.overdueOnce.Do(func() { close(s.overdue) }) })
		return
	}
	s.limit.Reset(d)
}

func (s *Step) stopTimer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limit != nil {
		s.limit.Stop()
	}
}

// ignored says what is wrong with a step that is overdue.
func (s *Step) ignored() string {
	return fmt.Sprintf("step %q still runs %s after its context has ended: its handler ignores the context, and a host would give up on it",
		s.wire.GetStep(), killTimeout)
}

func (s *Step) nextBeat() (sdk.Progress, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == len(s.beats) {
		return sdk.Progress{}, false
	}
	s.seen++
	return s.beats[s.seen-1], true
}

// beat, finish and lose are the receiver's.

func (s *Step) beat(b *pluginv1.Heartbeat) {
	s.mu.Lock()
	s.beats = append(s.beats, sdk.Progress{Fraction: b.GetFraction(), Message: b.GetMessage()})
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

func (s *Step) finish(r *pluginv1.Result) {
	s.stopTimer()
	s.mu.Lock()
	s.result = newResult(s.host.t, s.wire.GetStep(), r, s.beats, s.reason)
	s.mu.Unlock()
	close(s.done)
}

func (s *Step) lose(err error) {
	s.stopTimer()
	s.lost = err
	close(s.done)
}
