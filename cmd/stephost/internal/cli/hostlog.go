package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stephost/stephost/host/config"
	"github.com/stephost/stephost/internal/asynclog"
)

const (
	// logBuffer is how many bytes of the log wait for standard error.
	logBuffer = 1 << 20
	// logPatience is how long the end of the log may take to be written.
	logPatience = 2 * time.Second
)

// hostLog is the log of a host, on standard error. Logging never waits for it.
type hostLog struct {
	hclog.Logger
	writer *asynclog.Writer
}

// openLog starts the log as the file says.
func (a *app) openLog(cfg *config.Config) *hostLog {
	logger := func(out io.Writer) hclog.Logger {
		return hclog.New(&hclog.LoggerOptions{
			Name:       "stephost",
			Level:      hclog.LevelFromString(cfg.Host.LogLevel),
			JSONFormat: cfg.Host.LogFormat == "json",
			Output:     out,
		})
	}
	writer := asynclog.New(a.stderr, logBuffer, func(out io.Writer, dropped int) {
		logger(out).Warn(fmt.Sprintf("%d lines of the log were dropped: standard error was not read fast enough", dropped), "dropped", dropped)
	})
	return &hostLog{Logger: logger(writer), writer: writer}
}

// close writes what is left, unless standard error hangs.
func (l *hostLog) close() { _ = l.writer.Close(logPatience) }
