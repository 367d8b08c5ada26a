package cli

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/hashicorp/hcl/v2"

	"github.com/stephost/stephost/host/config"
	"github.com/stephost/stephost/internal/devbuild"
)

// packagesOf takes the Go packages out of a configuration: their plugins' commands
// become the programs that dev builds of them.
func (a *app) packagesOf(cfg *config.Config) ([]devbuild.Package, error) {
	var packages []devbuild.Package
	for i := range cfg.Plugins {
		p := &cfg.Plugins[i]
		if !p.Package {
			continue
		}
		// Another package of the same plugin is another program.
		sum := sha256.Sum256([]byte(p.Command))
		output, err := filepath.Abs(filepath.Join(a.stateDir(), "plugins", fmt.Sprintf("%s-%x", p.Name, sum[:4])))
		if err != nil {
			return nil, fmt.Errorf("find the place for plugin %q: %w", p.Name, err)
		}
		packages = append(packages, devbuild.Package{Plugin: p.Name, Dir: p.Command, Output: output})
		p.Command, p.Package = output, false
	}
	return packages, nil
}

// build builds the Go packages among the plugins for the first time. What the
// builder does, now and later, it tells on the terminal.
func (d *dev) build(ctx context.Context, steps *stepPrinter) error {
	packages, err := d.packagesOf(d.cfg)
	if err != nil {
		return err
	}
	d.builder = devbuild.New(devbuild.Options{
		Show: steps.say,
		Swap: func(ctx context.Context, plugin string) (bool, error) { return d.host.ProgramChanged(ctx, plugin) }, // the host is made later
	})
	return d.builder.Build(ctx, packages)
}

// rebuild builds and swaps what is saved, once the host serves and until ctx
// ends.
func (d *dev) rebuild(ctx context.Context) {
	select {
	case <-d.host.Serving():
		d.builder.Run(ctx)
	case <-ctx.Done():
	}
}

// changePackages builds what a changed configuration has of new packages.
func (d *dev) changePackages(ctx context.Context, cfg *config.Config) *hcl.Diagnostic {
	packages, err := d.packagesOf(cfg)
	if err == nil {
		err = d.builder.Change(ctx, packages)
	}
	if err == nil {
		return nil
	}
	diag := &hcl.Diagnostic{Severity: hcl.DiagError, Summary: "Plugin cannot be built", Detail: err.Error()}
	var failed *devbuild.BuildError
	if errors.As(err, &failed) {
		for _, p := range cfg.Plugins {
			if p.Name == failed.Plugin {
				diag.Subject = &p.CommandRange
			}
		}
	}
	return diag
}
