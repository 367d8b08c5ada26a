package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// checkPackage is about a command that is the directory of a Go package.
func (r *reading) checkPackage(p *Plugin) {
	if !r.opts.packages {
		r.fail(p.CommandRange, "Plugin command is a Go package",
			fmt.Sprintf("%s is a directory with Go files and not a program. `stephost dev` builds it, and swaps it whenever a file is saved; for everything else build it (go build) and name the program.", r.quote(&p.Command)))
		return
	}
	p.Package = true
	if at, written := r.ranges[&p.SHA256]; written && p.SHA256 != "" {
		r.fail(at, "Pinned package", "A package is built anew whenever it changes, so its program cannot be pinned. Leave out sha256 here.")
	}
}

func hasGoFiles(dir string) bool {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, entry := range entries {
		if name := entry.Name(); filepath.Ext(name) == ".go" && !strings.HasSuffix(name, "_test.go") {
			return true
		}
	}
	return false
}
