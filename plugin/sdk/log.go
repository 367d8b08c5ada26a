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
		t.logger = t.stream.svc.logger.With(
			"namespace", t.step.GetNamespace(),
			"step", t.step.GetStep(),
			"message_id", t.step.GetMessageId(),
			"attempt", t.step.GetAttempt(),
		)
	}
	return t.logger
}

// Slog returns [Logger] as a *slog.Logger.
func Slog(ctx context.Context) *slog.Logger {
	return slog.New(newSlogHandler(Logger(ctx)))
}
