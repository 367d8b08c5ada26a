package scaffold

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// ErrNoGo means that the go command is not installed.
var ErrNoGo = errors.New("the go command is not installed")

// Tidy completes go.mod and go.sum by `go mod tidy`.
func (p Project) Tidy(ctx context.Context) error {
	program, err := exec.LookPath("go")
	if err != nil {
		return ErrNoGo
	}
	cmd := exec.CommandContext(ctx, program, "mod", "tidy")
	cmd.Dir = p.Dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("go mod tidy: %w: %s", err, lastLine(out))
	}
	return nil
}

// lastLine is where the go command says what went wrong.
func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
