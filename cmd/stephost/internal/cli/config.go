package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hashicorp/hcl/v2"

	"github.com/stephost/stephost/host/config"
)

// loadConfig reads the configuration file of a command that cannot do without
// it. What is wrong is printed in full; the error only carries the exit code.
func (a *app) loadConfig(opts ...config.Option) (*config.Config, error) {
	cfg, diags := config.Load(a.configPath, opts...)
	if err := a.report(diags, cfg); err != nil {
		return nil, err
	}
	return cfg, nil
}

// report prints diagnostics about the configuration. Its error, where there is
// one among them, only carries the exit code.
func (a *app) report(diags hcl.Diagnostics, cfg *config.Config) error {
	if err := config.Print(a.stderr, diags, cfg.Files); err != nil {
		return fmt.Errorf("print diagnostics: %w", err)
	}
	if diags.HasErrors() {
		return &reportedError{code: ExitUsage}
	}
	return nil
}

// lookupConfig reads the configuration file of a command that would only like
// to know something in it. It returns nil when there is no file and none was
// asked for. Plugin binaries need not exist.
func (a *app) lookupConfig() (*config.Config, error) {
	if _, err := os.Stat(a.configPath); errors.Is(err, fs.ErrNotExist) && !a.configGiven {
		return nil, nil
	}
	return a.loadConfig(config.WithFileChecks(false))
}

// namespaceOf finds a namespace in the configuration file.
func (a *app) namespaceOf(name string) (config.Namespace, error) {
	cfg, err := a.loadConfig(config.WithFileChecks(false))
	if err != nil {
		return config.Namespace{}, err
	}
	for _, ns := range cfg.Namespaces {
		if ns.Name == name {
			return ns, nil
		}
	}
	return config.Namespace{}, &usageError{fmt.Errorf("%s has no namespace %q: add it or name a queue instead", a.configPath, name)}
}

// stateDir is where `stephost dev` keeps what belongs to one configuration
// file: beside it.
func (a *app) stateDir() string {
	return filepath.Join(filepath.Dir(a.configPath), ".stephost")
}
