package sdk

import (
	"context"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// Logger returns a logger for the step that ctx belongs to. Its lines carry
// namespace, step, message_id and attempt, and reach the host's log with their
// level and fields. Outside a step its lines carry nothing extra.
//
// Writing never blocks a handler on a slow reader: beyond a bounded buffer,
// lines are dropped and counted.
func Logger(ctx context.Context) hclog.Logger {
	t := taskFrom(ctx)
	if t == nil {
		return hclog.Default()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.logger == nil {
		t.logger = t.stream.svc.logger.With(t.fields()...)
	}
	return t.logger
}

// fields are what the lines of a step carry.
func (t *task) fields() []any {
	return []any{
		"namespace", t.step.GetNamespace(),
		"step", t.step.GetStep(),
		"message_id", t.step.GetMessageId(),
		"attempt", t.step.GetAttempt(),
	}
}

// Slog returns [Logger] as a *slog.Logger. In a plugin's process slog's default
// logger does the same with the context that it is given:
// slog.InfoContext(ctx, …).
func Slog(ctx context.Context) *slog.Logger {
	handler := newSlogHandler(Logger(ctx))
	if taskFrom(ctx) != nil {
		handler = handler.bind()
	}
	return slog.New(handler)
}
