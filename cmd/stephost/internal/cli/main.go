package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// ShimCommand is the hidden first argument that makes the binary the guard of
// a plugin's processes.
const ShimCommand = "plugin-shim"

// app is what all commands share.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	version        string

	// Global flags.
	json       bool
	configPath string
	adminAddr  string

	// configGiven tells a --config from its default.
	configGiven bool
}

// Main runs the command line and returns the exit code. stamped is the version
// that the linker set, or "".
func Main(args []string, stamped string) int {
	ctx, stop := cancelOnSignal(context.Background())
	defer stop()
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, version: versionOf(stamped)}
	return a.run(ctx, args)
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitOK
	}
	code := exitCode(ctx, err)
	var reported *reportedError
	switch {
	case errors.As(err, &reported):
	case code == ExitInterrupted:
		// What the signal broke off is no error of its own.
		_, _ = fmt.Fprintln(a.stderr, "stephost: interrupted")
	default:
		_, _ = fmt.Fprintf(a.stderr, "stephost: %s\n", oneLine(err))
	}
	return code
}

// oneLine joins the lines of an error. Errors that wrap several have one each.
func oneLine(err error) string {
	lines := strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' })
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	return strings.Join(lines, "; ")
}

// cancelOnSignal ends the context at the first SIGINT or SIGTERM and the
// process, at once, at the second.
func cancelOnSignal(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	stopped, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for count := 1; ; count++ {
			select {
			case <-stopped:
				return
			case <-signals:
				if count > 1 {
					os.Exit(ExitInterrupted)
				}
				cancel(errInterrupted)
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(stopped)
		<-done
		cancel(nil)
	}
}
