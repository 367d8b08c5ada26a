package sdk

import (
	"context"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// slogHandler writes slog records to an hclog.Logger, so that libraries that
// log with slog keep level and fields on the way to the host.
type slogHandler struct {
	logger hclog.Logger
	group  string // prefix of attribute names, with a trailing dot
	// bound says that the logger has the fields of its step. Otherwise each
	// record takes them from the context that it is logged with.
	bound bool
}

var _ slog.Handler = slogHandler{}

func newSlogHandler(logger hclog.Logger) slogHandler { return slogHandler{logger: logger} }

// bind keeps contexts from adding what the logger has already.
func (h slogHandler) bind() slogHandler {
	h.bound = true
	return h
}

// Enabled asks the logger for its level.
func (h slogHandler) Enabled(_ context.Context, level slog.Level) bool {
	return h.logger.GetLevel() <= hclogLevel(level)
}

// Handle writes one line.
func (h slogHandler) Handle(ctx context.Context, r slog.Record) error {
	args := make([]any, 0, 2*r.NumAttrs())
	if !h.bound && ctx != nil {
		if t := taskFrom(ctx); t != nil {
			args = append(args, t.fields()...)
		}
	}
	r.Attrs(func(a slog.Attr) bool {
		args = appendAttr(args, h.group, a)
		return true
	})
	h.logger.Log(hclogLevel(r.Level), r.Message, args...)
	return nil
}

// WithAttrs adds attributes to every line.
func (h slogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var args []any
	for _, a := range attrs {
		args = appendAttr(args, h.group, a)
	}
	if len(args) == 0 {
		return h
	}
	h.logger = h.logger.With(args...)
	return h
}

// WithGroup qualifies the names of later attributes.
func (h slogHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	h.group += name + "."
	return h
}

// appendAttr flattens an attribute into key and value, groups into dotted
// keys.
func appendAttr(args []any, prefix string, a slog.Attr) []any {
	value := a.Value.Resolve()
	if value.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, member := range value.Group() {
			args = appendAttr(args, prefix, member)
		}
		return args
	}
	if a.Equal(slog.Attr{}) {
		return args
	}
	return append(args, prefix+a.Key, value.Any())
}

// hclogLevel maps a level to the nearest one below that hclog has.
func hclogLevel(level slog.Level) hclog.Level {
	switch {
	case level < slog.LevelDebug:
		return hclog.Trace
	case level < slog.LevelInfo:
		return hclog.Debug
	case level < slog.LevelWarn:
		return hclog.Info
	case level < slog.LevelError:
		return hclog.Warn
	default:
		return hclog.Error
	}
}
