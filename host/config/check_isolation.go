package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/stephost/stephost/host/internal/identity"
	"github.com/stephost/stephost/internal/hclfile"
	"github.com/stephost/stephost/plugin/protocol"
)

// checkIsolation looks at what surrounds a plugin's process: its environment,
// directory and user.
func (r *reading) checkIsolation(p *Plugin) {
	for _, name := range slices.Sorted(maps.Keys(p.Env)) {
		if protocol.ReservedEnv(name) {
			r.reserved(&p.Env, p, name)
		}
	}
	for _, name := range p.EnvFrom {
		switch {
		case name == "" || strings.Contains(name, "="):
			r.fail(r.at(&p.EnvFrom, p.DeclRange), "Invalid name of a variable", "An element is not the name of an environment variable.")
		case protocol.ReservedEnv(name):
			r.reserved(&p.EnvFrom, p, name)
		}
	}
	r.checkDirectory(p)
	if !r.opts.fileChecks || p.User == "" && p.Group == "" {
		return
	}
	if _, err := identity.Resolve(p.User, p.Group); err != nil {
		at := r.at(&p.User, r.at(&p.Group, p.DeclRange))
		var group *identity.GroupError
		if errors.As(err, &group) {
			at = r.at(&p.Group, at)
		}
		r.fail(at, "Plugin cannot run as this user", hclfile.Sentence(err.Error()))
	}
}

func (r *reading) reserved(target any, p *Plugin, name string) {
	r.fail(r.at(target, p.DeclRange), "Reserved environment variable",
		fmt.Sprintf("The variable %s belongs to the conversation between the host and the plugin. Use another name.", name))
}

func (r *reading) checkDirectory(p *Plugin) {
	if p.CWD == "" {
		return
	}
	at := r.at(&p.CWD, p.DeclRange)
	dir, err := absolute(p.DeclRange.Filename, p.CWD)
	if err != nil {
		r.fail(at, "Working directory not found", hclfile.Sentence(err.Error()))
		return
	}
	p.CWD = dir
	if !r.opts.fileChecks {
		return
	}
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		r.fail(at, "Working directory not found", fmt.Sprintf("Looking for %s failed: %v.", r.quote(&p.CWD), rootCause(err)))
	case !info.IsDir():
		r.fail(at, "Working directory not found", fmt.Sprintf("%s is not a directory.", r.quote(&p.CWD)))
	}
}
