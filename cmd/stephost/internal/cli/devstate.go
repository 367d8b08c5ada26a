package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// devState is what a running `stephost dev` leaves for the commands beside it.
type devState struct {
	PID int    `json:"pid"`
	DSN string `json:"dsn"`
}

func devStatePath(dir string) string { return filepath.Join(dir, "dev.json") }

// writeDevState leaves the state for others of the same user.
func writeDevState(dir string, state devState) error {
	data, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("encode the state of dev: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the directory for the state of dev: %w", err)
	}
	// Written beside and renamed, so that nobody reads half of it.
	fresh := devStatePath(dir) + ".new"
	if err := os.WriteFile(fresh, data, 0o600); err != nil {
		return fmt.Errorf("write the state of dev: %w", err)
	}
	if err := os.Rename(fresh, devStatePath(dir)); err != nil {
		return fmt.Errorf("write the state of dev: %w", err)
	}
	return nil
}

func removeDevState(dir string) error {
	if err := os.Remove(devStatePath(dir)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the state of dev: %w", err)
	}
	return nil
}

// readDevState returns the state of a `stephost dev` that is running now. What
// a killed one left behind does not count.
func readDevState(dir string) (state devState, ok bool) {
	data, err := os.ReadFile(devStatePath(dir))
	if err != nil || json.Unmarshal(data, &state) != nil || state.PID <= 0 {
		return devState{}, false
	}
	err = syscall.Kill(state.PID, 0)
	return state, err == nil || errors.Is(err, syscall.EPERM)
}
