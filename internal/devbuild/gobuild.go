package devbuild

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stephost/stephost/internal/filewatch"
)

// buildTimeout bounds one build: the first one may have to compile everything.
const buildTimeout = 10 * time.Minute

// make builds a package into a file beside its output and returns that file.
func (b *Builder) make(ctx context.Context, u *unit) (fresh string, err error) {
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	packages, err := list(ctx, u.Dir)
	if err == nil || len(u.sources) == 0 {
		u.sources = sourcesOf(u.Dir, packages)
	}
	// Before the build, so that what is saved from now on is built again.
	u.changes = filewatch.Debounce{Quiet: quiet}
	u.changes.Look(u.state(), time.Now())
	if err != nil {
		return "", err
	}
	if main := packages[len(packages)-1]; main.Name != "" && main.Name != "main" {
		return "", fmt.Errorf("%s is package %s, and a plugin is package main", u.Dir, main.Name)
	}
	fresh = u.Output + ".new"
	// The state of the repository and the build's own id are left out: they change
	// with every save, and with them programs that are the same.
	_, err = goCommand(ctx, u.Dir, "build", "-buildvcs=false", "-ldflags=-buildid=", "-o", fresh, ".")
	return fresh, err
}

// listed is a package as `go list` describes it.
type listed struct {
	Dir        string
	Name       string
	Module     *module
	EmbedFiles []string
}

type module struct {
	Main    bool
	GoMod   string
	Replace *struct{ Version string }
}

// local tells whether a package is written on this machine: in the main
// module, in one of a workspace, or in one that a replace directive points to.
// What came from a module proxy does not change.
func (p listed) local() bool {
	m := p.Module
	return m != nil && (m.Main || m.Replace != nil && m.Replace.Version == "")
}

// sourcesOf are the files that a build reads, and the directories in which
// there may be more of them.
func sourcesOf(dir string, packages []listed) []string {
	sources := []string{dir}
	for _, p := range packages {
		if !p.local() {
			continue
		}
		sources = append(sources, p.Dir, p.Module.GoMod)
		for _, name := range p.EmbedFiles {
			sources = append(sources, filepath.Join(p.Dir, name))
		}
	}
	// Where the packages could not be listed, the reason may be in here.
	for up := dir; len(packages) == 0 && up != filepath.Dir(up); up = filepath.Dir(up) {
		sources = append(sources, filepath.Join(up, "go.mod"))
	}
	slices.Sort(sources)
	return slices.Compact(sources)
}

// list returns the package in the directory, last, after all that it imports.
// What is wrong with their code is left to the build.
func list(ctx context.Context, dir string) ([]listed, error) {
	out, err := goCommand(ctx, dir, "list", "-e", "-deps", "-json=Dir,Name,Module,EmbedFiles", ".")
	if err != nil {
		return nil, err
	}
	var packages []listed
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read what go list says: %w", err)
		}
		packages = append(packages, p)
	}
	if len(packages) == 0 {
		return nil, fmt.Errorf("there is no Go package in %s", dir)
	}
	return packages, nil
}

// goCommand runs the go command. Its error is what the command says.
func goCommand(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.WaitDelay = 5 * time.Second // for compilers that outlive it
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err := cmd.Run()
	switch {
	case err == nil:
		return out.Bytes(), nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("go %s in %s: %w", args[0], dir, ctx.Err())
	case errors.Is(err, exec.ErrNotFound):
		return nil, errors.New("there is no go command: install Go, see https://go.dev/dl")
	}
	if text := strings.TrimSpace(complaints.String()); text != "" {
		return nil, errors.New(text)
	}
	return nil, fmt.Errorf("go %s in %s: %w", args[0], dir, err)
}

// state changes when a file that the build may read is saved, made or removed.
func (u *unit) state() string {
	var state strings.Builder
	for _, source := range u.sources {
		entries, err := os.ReadDir(source)
		if err != nil { // a file, or not there
			_, _ = fmt.Fprintln(&state, source, filewatch.State(source))
			continue
		}
		for _, entry := range entries {
			if path := filepath.Join(source, entry.Name()); builds(entry.Name()) {
				_, _ = fmt.Fprintln(&state, path, filewatch.State(path))
			}
		}
	}
	return state.String()
}

// builds tells whether a file in a package's directory matters to a build:
// those of editors and tests do not.
func builds(name string) bool {
	if strings.HasPrefix(name, ".") || strings.HasSuffix(name, "_test.go") {
		return false
	}
	switch filepath.Ext(name) {
	case ".go", ".mod", ".sum", ".c", ".h", ".s":
		return true
	}
	return false
}
