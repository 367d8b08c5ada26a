package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// Target is where an emitted message goes: [ToNamespace] or [ToQueue].
type Target struct {
	namespace string
	queue     string
}

// ToNamespace targets the queue of a namespace, whatever its name is in the
// host's configuration.
func ToNamespace(name string) Target { return Target{namespace: name} }

// ToQueue targets a queue by its name.
func ToQueue(name string) Target { return Target{queue: name} }

// String names the target for people.
func (t Target) String() string {
	if t.namespace != "" {
		return "namespace " + t.namespace
	}
	return "queue " + t.queue
}

// EmitOption adjusts one emitted message.
type EmitOption func(*emitSettings)

type emitSettings struct {
	delay   time.Duration
	headers map[string]any
}

// Delay keeps the message invisible for a while after it has been sent. A
// negative delay counts as zero.
func Delay(d time.Duration) EmitOption {
	return func(s *emitSettings) { s.delay = max(d, 0) }
}

// Headers sends headers with the message. They are encoded as a JSON object;
// the name "stephost" is the host's own.
func Headers(headers map[string]any) EmitOption {
	return func(s *emitSettings) { s.headers = headers }
}

// Emit adds a message to the outcome of the step. It is sent in the
// transaction that completes the step: exactly once if the step succeeds, and
// not at all if it fails, snoozes or is given back. body is encoded as JSON at
// once; use json.RawMessage for JSON that is ready.
//
// Emit may be called by several goroutines of a step. It fails when ctx does
// not belong to a step or the step has ended, when body or headers cannot be
// encoded, when the target has no name, and when the step's messages together
// exceed what can travel.
func Emit(ctx context.Context, target Target, body any, opts ...EmitOption) error {
	t := taskFrom(ctx)
	if t == nil {
		return fmt.Errorf("emit: %w", errNoStep)
	}
	e, err := newEmit(target, body, opts)
	if err != nil {
		return fmt.Errorf("emit: %w", err)
	}
	if err := t.addEmit(e); err != nil {
		return fmt.Errorf("emit: %w", err)
	}
	return nil
}

func newEmit(target Target, body any, opts []EmitOption) (*pluginv1.Emit, error) {
	var settings emitSettings
	for _, opt := range opts {
		opt(&settings)
	}
	e := &pluginv1.Emit{DelayMs: roundUpMillis(settings.delay)}
	switch {
	case target.namespace != "":
		e.Target = &pluginv1.Emit_Namespace{Namespace: cleanText(target.namespace, maxNameBytes)}
	case target.queue != "":
		e.Target = &pluginv1.Emit_Queue{Queue: cleanText(target.queue, maxNameBytes)}
	default:
		return nil, errors.New("target has no name")
	}
	var err error
	if e.Body, err = json.Marshal(body); err != nil {
		return nil, fmt.Errorf("encode body: %w", err)
	}
	if len(settings.headers) > 0 {
		if e.Headers, err = json.Marshal(settings.headers); err != nil {
			return nil, fmt.Errorf("encode headers: %w", err)
		}
	}
	return e, nil
}

// addEmit keeps a message until the step ends.
func (t *task) addEmit(e *pluginv1.Emit) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return errStepEnded
	}
	size := emitSize(e)
	if t.emitBytes+size > t.stream.svc.maxResultBytes {
		return fmt.Errorf("messages of one step exceed %d bytes", t.stream.svc.maxResultBytes)
	}
	t.emitBytes += size
	t.emits = append(t.emits, e)
	return nil
}

// emitSize is what a message occupies in a result, rounded up.
func emitSize(e *pluginv1.Emit) int {
	return len(e.GetBody()) + len(e.GetHeaders()) + len(e.GetQueue()) + len(e.GetNamespace()) + memberOverhead
}

// roundUpMillis keeps short delays from vanishing.
func roundUpMillis(d time.Duration) int64 {
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}

// maxResultBytes is how much one result may carry: a gRPC message, with room
// for the envelope.
const maxResultBytes = protocol.MaxMessageBytes - 64<<10
