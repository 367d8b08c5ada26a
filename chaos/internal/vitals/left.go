package vitals

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// LeftBehind lists the processes and the files that still belong to a world whose
// hosts have stopped; each in a few words.
func LeftBehind(tempDir string) ([]string, error) {
	var left []string
	running, err := processesOf("TMPDIR=" + tempDir)
	if err != nil {
		return nil, err
	}
	for _, p := range running {
		left = append(left, fmt.Sprintf("process %d (%s)", p.pid, strings.Join(p.args, " ")))
	}
	err = filepath.WalkDir(tempDir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && path != tempDir {
			left = append(left, path)
		}
		return err
	})
	return left, err
}
