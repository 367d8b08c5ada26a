package supervisor

import (
	"context"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// LogLevel is the level from which the host wants log lines, while it runs. All
// processes of the plugins that share it follow a change. It is safe for
// concurrent use.
type LogLevel struct {
	mu      sync.Mutex
	level   string
	changed chan struct{}
}

// NewLogLevel starts with a level such as "info".
func NewLogLevel(level string) *LogLevel {
	return &LogLevel{level: level, changed: make(chan struct{})}
}

// Set changes the level. Plugins hear of it in the background.
func (l *LogLevel) Set(level string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if level != l.level {
		l.level = level
		close(l.changed)
		l.changed = make(chan struct{})
	}
}

// get returns the level and what is closed when it changes.
func (l *LogLevel) get() (string, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.level, l.changed
}

// wantedLevel is what the process is to log from at its start.
func (p *process) wantedLevel(deps *Deps) string {
	if deps.LogLevel == nil {
		return p.spec.LogLevel
	}
	level, _ := deps.LogLevel.get()
	return level
}

// followLevel tells the process when the level is another one than it was told
// last, until it is ended.
func (p *process) followLevel(wanted *LogLevel, told string) {
	for {
		level, changed := wanted.get()
		if level != told {
			if err := p.setLevel(level); status.Code(err) == codes.Unimplemented {
				p.log.Debug("plugin keeps its log level until it is started again", "log_level", told)
				return
			} else if err != nil && p.life.Err() == nil {
				p.log.Warn("plugin was not told the new log level", "log_level", level, "error", err)
			}
			told = level
		}
		select {
		case <-changed:
		case <-p.life.Done():
			return
		}
	}
}

func (p *process) setLevel(level string) error {
	ctx, cancel := context.WithTimeout(p.life, p.spec.Timeouts.Health)
	defer cancel()
	_, err := p.api.SetLogLevel(ctx, &pluginv1.SetLogLevelRequest{LogLevel: level})
	return inTime(err, p.spec.Timeouts.Health)
}
