package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/stephost/stephost/host/supervisor"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

const (
	// onlyStep is the id of the only step of a process.
	onlyStep = 1
	// stepGrace is for a handler that ignores its end, where the spec says
	// nothing.
	stepGrace = 5 * time.Second
)

// StepRequest is one step to run without a queue.
type StepRequest struct {
	// Step names the handler; empty: the default one, or the only one.
	Step string
	// Input is a JSON object.
	Input []byte
	// Attempt is what the handler is told. Default 1.
	Attempt int
	// Timeout is for the handler; 0 means no limit. A handler that ignores it
	// is given up after the spec's stop timeout.
	Timeout time.Duration
	// OnHeartbeat is told each sign of life. May be nil.
	OnHeartbeat func(*pluginv1.Heartbeat)
}

// RunStep starts a process of a plugin, runs one step in it and stops it again;
// [PluginAlone] gives spec and deps. It returns the name of the step that ran,
// and its result, which may be a failure. The error is about the plugin: it does
// not start, has no such step, crashes (a *supervisor.CrashError) or does not
// answer. When ctx ends, the handler is cancelled first. When it returns, no
// process is left.
func RunStep(ctx context.Context, spec supervisor.Spec, deps supervisor.Deps, req StepRequest) (string, *pluginv1.Result, error) {
	s, err := supervisor.OpenSession(ctx, spec, deps)
	if err != nil {
		return "", nil, err
	}
	defer s.Close()
	described, err := s.Introduce(ctx)
	if err != nil {
		return "", nil, err
	}
	name, err := resolveStep(described, req.Step)
	if err != nil {
		return "", nil, err
	}
	result, err := runStep(ctx, s, spec, name, req)
	if err != nil {
		return name, nil, err
	}
	s.Stop(context.WithoutCancel(ctx))
	return name, result, nil
}

// resolveStep finds the handler as a host does for a message.
func resolveStep(d *pluginv1.DescribeResponse, wanted string) (string, error) {
	names := make([]string, 0, len(d.GetSteps()))
	for _, s := range d.GetSteps() {
		if s.GetName() == wanted || wanted == "" && s.GetDefault() {
			return s.GetName(), nil
		}
		names = append(names, s.GetName())
	}
	switch {
	case len(names) == 0:
		return "", errors.New("the plugin has no steps")
	case wanted == "" && len(names) == 1:
		return names[0], nil
	case wanted == "":
		return "", fmt.Errorf("the plugin has no default step: name one of %s", strings.Join(names, ", "))
	default:
		return "", fmt.Errorf("the plugin has no step %q, it has %s", wanted, strings.Join(names, ", "))
	}
}

// runStep is the one conversation on the one stream.
func runStep(ctx context.Context, s *supervisor.Session, spec supervisor.Spec, name string, req StepRequest) (*pluginv1.Result, error) {
	grace := cmp.Or(spec.Timeouts.Stop, stepGrace)
	life, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	if req.Timeout > 0 {
		late := time.AfterFunc(req.Timeout+grace, func() {
			end(fmt.Errorf("step %q has no result %v after its timeout of %v", name, grace, req.Timeout))
		})
		defer late.Stop()
	}
	rpc, err := s.Client().Execute(life)
	if err != nil {
		return nil, noResult(life, s, spec, err)
	}
	err = rpc.Send(&pluginv1.ExecuteRequest{Steps: []*pluginv1.Step{{
		Id: onlyStep, Namespace: spec.Name, Step: name, Input: req.Input,
		Queue: spec.Name, MessageId: 1, Attempt: uint32(max(req.Attempt, 1)), TimeoutMs: req.Timeout.Milliseconds(),
		EnqueuedAtUs: time.Now().UnixMicro(), IdempotencyKey: spec.Name + "-1",
	}}})
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, noResult(life, s, spec, err)
	}
	done, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-done:
		case <-ctx.Done():
			if !cancelStep(rpc, done, grace) {
				end(fmt.Errorf("step %q has no result %v after it was cancelled: %w", name, grace, ctx.Err()))
			}
		}
	}()
	result, err := receiveResult(rpc, req.OnHeartbeat)
	if err != nil {
		err = noResult(life, s, spec, err)
	}
	close(done)
	end(nil)
	<-watched
	return result, err
}

// cancelStep asks the handler to stop and reports whether it did.
func cancelStep(rpc pluginv1.PluginService_ExecuteClient, done <-chan struct{}, grace time.Duration) bool {
	_ = rpc.Send(&pluginv1.ExecuteRequest{Cancellations: []*pluginv1.Cancellation{
		{Id: onlyStep, Reason: pluginv1.CancelReason_CANCEL_REASON_REQUESTED},
	}})
	select {
	case <-done:
		return true
	case <-time.After(grace):
		return false
	}
}

func receiveResult(rpc pluginv1.PluginService_ExecuteClient, onHeartbeat func(*pluginv1.Heartbeat)) (*pluginv1.Result, error) {
	for {
		resp, err := rpc.Recv()
		if err != nil {
			return nil, err
		}
		for _, beat := range resp.GetHeartbeats() {
			if onHeartbeat != nil {
				onHeartbeat(beat)
			}
		}
		for _, r := range resp.GetResults() {
			if r.GetId() == onlyStep {
				return r, nil
			}
		}
	}
}

// noResult explains a stream that ended too early.
func noResult(life context.Context, s *supervisor.Session, spec supervisor.Spec, err error) error {
	if cause := context.Cause(life); cause != nil {
		return cause
	}
	// The connection breaks a moment before the exit is known.
	const moment = 250 * time.Millisecond
	select {
	case <-s.Exited():
		s.Close()
		return &supervisor.CrashError{Plugin: spec.Name, PID: s.PID(), Exit: s.Exit(), Stderr: s.Stderr(), InFlight: 1}
	case <-time.After(moment):
	}
	if errors.Is(err, io.EOF) {
		return errors.New("the plugin ended the stream without a result: `stephost plugin check` says what else is wrong")
	}
	return fmt.Errorf("the stream broke: %w", err)
}
