package vitals

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
)

// Directory counts what lies in a directory, at any depth: sockets and temporary
// files that nobody has removed.
type Directory struct {
	Path string
}

// Read implements Source.
func (d Directory) Read(_ context.Context, note Note) error {
	entries := -1 // the directory itself
	err := filepath.WalkDir(d.Path, func(path string, _ fs.DirEntry, err error) error {
		if err != nil && path == d.Path {
			return err
		}
		// What is removed meanwhile is no entry.
		if err == nil {
			entries++
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("count the entries of %s: %w", d.Path, err)
	}
	note(Subject{Name: "temporary files"}, Entries, float64(entries))
	return nil
}
