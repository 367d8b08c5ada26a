// Package scaffold writes the project of a new plugin: a Go module of its own
// with a handler, a configuration, tests, a Makefile and a README.
//
// The templates are a plugin that works. A test creates one, runs its tests,
// builds it and has it run a step.
package scaffold

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"

	"golang.org/x/mod/module"
)

//go:embed templates
var templates embed.FS

// goVersion is the Go version of a new module: that of the SDK, which it
// cannot undercut.
const goVersion = "1.26.0"

// maxName leaves room for the names of the namespace's queues.
const maxName = 40

var nameShape = regexp.MustCompile(`^[a-z][a-z0-9_-]*$`)

// Project is what to write and where.
type Project struct {
	// Dir is the directory; it is created, or empty.
	Dir string
	// Name is that of the plugin, its binary and its namespace.
	Name string
	// Module is the module path.
	Module string
	// SDK is where the SDK comes from.
	SDK SDK
}

// New checks what the user asked for and fills in the rest: an empty name is
// that of the directory, an empty module path is example.com/NAME.
func New(dir, name, modulePath string, sdk SDK) (Project, error) {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return Project{}, err
	}
	if name == "" {
		name = filepath.Base(absolute)
		if err := checkName(name); err != nil {
			return Project{}, fmt.Errorf("the directory's name is no name for a plugin: %w; give one with --name", err)
		}
	}
	if err := checkName(name); err != nil {
		return Project{}, err
	}
	if modulePath == "" {
		modulePath = "example.com/" + name
	}
	if err := module.CheckImportPath(modulePath); err != nil {
		return Project{}, err
	}
	return Project{Dir: absolute, Name: name, Module: modulePath, SDK: sdk}, nil
}

func checkName(name string) error {
	if !nameShape.MatchString(name) || len(name) > maxName {
		return fmt.Errorf("name %q: use up to %d lower-case letters, digits, underscores and hyphens, beginning with a letter", name, maxName)
	}
	return nil
}

// Create writes the files. It refuses a directory that has anything in it and
// takes back what it has written when it fails.
func (p Project) Create() (err error) {
	files, err := p.render()
	if err != nil {
		return err
	}
	created, err := makeEmpty(p.Dir)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && created {
			err = errors.Join(err, os.RemoveAll(p.Dir))
		}
	}()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(p.Dir, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// makeEmpty makes sure that the directory exists and is empty, and says
// whether it had to be made.
func makeEmpty(dir string) (created bool, err error) {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, os.MkdirAll(dir, 0o755)
	case err != nil:
		return false, err
	case len(entries) > 0:
		return false, fmt.Errorf("%s is not empty: it has %s; name a new directory", dir, entries[0].Name())
	}
	return false, nil
}

// render returns the files by their names.
func (p Project) render() (map[string][]byte, error) {
	set, err := template.New("").Option("missingkey=error").ParseFS(templates, "templates/*.tmpl")
	if err != nil {
		return nil, err
	}
	values := map[string]any{
		"Name": p.Name, "Module": p.Module, "Go": goVersion,
		"SDKModule": SDKModule, "SDKVersion": p.SDK.requirement(), "SDKDir": p.SDK.Dir,
		"Env": strings.ToUpper(strings.ReplaceAll(p.Name, "-", "_")),
	}
	files := map[string][]byte{}
	for _, t := range set.Templates() {
		if t.Name() == "" {
			continue
		}
		var text strings.Builder
		if err := t.Execute(&text, values); err != nil {
			return nil, err
		}
		name := strings.TrimSuffix(path.Base(t.Name()), ".tmpl")
		if name == "gitignore" {
			name = ".gitignore"
		}
		files[name] = []byte(text.String())
	}
	return files, nil
}
