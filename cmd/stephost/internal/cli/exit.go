package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stephost/stephost/host/admin"
)

// The exit codes.
const (
	ExitOK          = 0
	ExitFailure     = 1
	ExitUsage       = 2   // wrong usage or invalid configuration
	ExitNoHost      = 3   // no host answers
	ExitInterrupted = 130 // a command was interrupted, or a second signal cut a drain short
)

// errInterrupted is the cause of a context that a signal ended.
var errInterrupted = errors.New("interrupted")

// usageError is the caller's mistake.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }

func (e *usageError) Unwrap() error { return e.err }

// usagef is an error about how a command was called; it ends in a hint.
func usagef(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{fmt.Errorf(format+": see `%s --help`", append(args, cmd.CommandPath())...)}
}

// reportedError has been shown already, in more than one line.
type reportedError struct{ code int }

func (e *reportedError) Error() string { return fmt.Sprintf("exit %d", e.code) }

func exitCode(ctx context.Context, err error) int {
	var (
		reported    *reportedError
		usage       *usageError
		unreachable *admin.UnreachableError
	)
	switch {
	case errors.As(err, &reported):
		return reported.code
	case errors.As(err, &usage):
		return ExitUsage
	case errors.As(err, &unreachable):
		return ExitNoHost
	case errors.Is(err, context.Canceled) && errors.Is(context.Cause(ctx), errInterrupted):
		return ExitInterrupted
	default:
		return ExitFailure
	}
}
