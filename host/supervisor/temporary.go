package supervisor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// explainTemporary says what to do when the place for a plugin's socket cannot be
// made: go-plugin's error has only a path in it.
func explainTemporary(err error) error {
	var failed *fs.PathError
	if !errors.As(err, &failed) || !strings.HasPrefix(failed.Path, os.TempDir()) {
		return err
	}
	return fmt.Errorf("make a directory for its socket: %w: set TMPDIR to a directory that the host can write", err)
}
