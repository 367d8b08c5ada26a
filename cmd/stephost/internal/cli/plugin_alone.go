package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/stephost/stephost/host"
	"github.com/stephost/stephost/host/config"
	"github.com/stephost/stephost/host/supervisor"
	"github.com/stephost/stephost/internal/devbuild"
)

// alone are the flags of commands that start a plugin without a host.
type alone struct {
	*app
	configBlock, configJSON, tls string

	// temporary is the directory of a program that was built; empty: none.
	temporary string
}

const aloneHelp = `PATH is an executable, the directory of a Go package, which is built, or the name
of a plugin in the configuration file, whose command, arguments, environment and
config block are used then. A name that is also a file wants a directory in front:
./orders. Arguments of the executable follow it, after -- where they begin with a
dash.`

func (o *alone) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.configBlock, "config-block", "", "file with what stands between the braces of the config block")
	cmd.Flags().StringVar(&o.configJSON, "config-json", "", "the config block as a JSON object, or @FILE")
	cmd.Flags().StringVar(&o.tls, "tls", "", "auto or off (default: as the configuration file says, or auto)")
	cmd.MarkFlagsMutuallyExclusive("config-block", "config-json")
	_ = cmd.MarkFlagFilename("config-block", "hcl")
}

// open makes what starts the plugin that the arguments name. Its log goes to
// logger.
func (o *alone) open(cmd *cobra.Command, args []string, logger hclog.Logger) (supervisor.Spec, supervisor.Deps, error) {
	fail := func(err error) (supervisor.Spec, supervisor.Deps, error) {
		return supervisor.Spec{}, supervisor.Deps{}, err
	}
	if o.tls != "" && o.tls != "auto" && o.tls != "off" {
		return fail(usagef(cmd, "--tls is %q, not auto or off", o.tls))
	}
	cfg, name, err := o.find(cmd, args)
	if err != nil {
		return fail(err)
	}
	if err := o.build(cmd.Context(), cfg, name); err != nil {
		return fail(err)
	}
	options, err := o.hostOptions(cfg, logger)
	if err != nil {
		return fail(err)
	}
	spec, deps, err := host.PluginAlone(options, name)
	if o.tls != "" {
		spec.DisableTLS = o.tls == "off"
	}
	return spec, deps, err
}

// build makes the program of a plugin whose command is a directory.
func (o *alone) build(ctx context.Context, cfg *config.Config, name string) error {
	p := &cfg.Plugins[slices.IndexFunc(cfg.Plugins, func(p config.Plugin) bool { return p.Name == name })]
	if info, err := os.Stat(p.Command); err != nil || !info.IsDir() {
		return nil
	}
	var err error
	if o.temporary, err = os.MkdirTemp("", "stephost-plugin"); err != nil {
		return fmt.Errorf("make a directory for the program: %w", err)
	}
	builder := devbuild.New(devbuild.Options{
		Show: func(text string) { _, _ = io.WriteString(o.stderr, text) },
		Swap: func(context.Context, string) (bool, error) { return true, nil },
	})
	output := filepath.Join(o.temporary, "plugin")
	err = builder.Change(ctx, []devbuild.Package{{Plugin: name, Dir: p.Command, Output: output}})
	var failed *devbuild.BuildError
	if errors.As(err, &failed) && ctx.Err() == nil {
		_, _ = fmt.Fprintf(o.stderr, "stephost: %s does not build\n%v\n", p.Command, failed)
		return &reportedError{code: ExitFailure}
	}
	p.Command = output
	return err
}

// close removes what was built.
func (o *alone) close() {
	if o.temporary != "" {
		_ = os.RemoveAll(o.temporary)
	}
}

// find returns a configuration that has the plugin.
func (o *alone) find(cmd *cobra.Command, args []string) (*config.Config, string, error) {
	name := args[0]
	if !strings.ContainsRune(name, filepath.Separator) && name != "." && name != ".." {
		// Other plugins' programs are of no interest, and the start complains about
		// this one's.
		cfg, err := o.loadConfig(config.WithFileChecks(false))
		if err != nil {
			return nil, "", err
		}
		for _, p := range cfg.Plugins {
			if p.Name == name {
				return cfg, name, o.onlyForPaths(cmd, args)
			}
		}
		return nil, "", usagef(cmd, "%s has no plugin %q: for the file of that name say ./%s", o.configPath, name, name)
	}
	command, err := filepath.Abs(name)
	if err != nil {
		return nil, "", fmt.Errorf("find the plugin: %w", err)
	}
	block, err := o.block(cmd)
	if err != nil {
		return nil, "", err
	}
	name = filepath.Base(command)
	cfg, diags := config.StandalonePlugin(name, command, args[1:], block)
	return cfg, name, o.report(diags, cfg)
}

// onlyForPaths refuses what the configuration file says already.
func (o *alone) onlyForPaths(cmd *cobra.Command, args []string) error {
	if len(args) > 1 || o.configBlock != "" || o.configJSON != "" {
		return usagef(cmd, "the arguments and the config block of %q stand in %s", args[0], o.configPath)
	}
	return nil
}

// block is the config block that the flags give, or nil.
func (o *alone) block(cmd *cobra.Command) (*config.Block, error) {
	switch {
	case o.configBlock != "":
		src, err := os.ReadFile(o.configBlock)
		if err != nil {
			return nil, usagef(cmd, "read the config block: %w", err)
		}
		return &config.Block{Filename: o.configBlock, Src: src}, nil
	case o.configJSON != "":
		src, err := o.text(o.configJSON)
		if err != nil {
			return nil, usagef(cmd, "read the config block: %w", err)
		}
		return &config.Block{Filename: "--config-json", Src: src, JSON: true}, nil
	}
	return nil, nil
}

// text is a flag's value: itself, the file that follows @, or standard input
// for a single dash.
func (o *alone) text(value string) ([]byte, error) {
	if value == "-" {
		const limit = 64 << 20
		raw, err := io.ReadAll(io.LimitReader(o.stdin, limit+1))
		if err == nil && len(raw) > limit {
			err = errors.New("standard input has more than 64 MiB")
		}
		return bytes.TrimSpace(raw), err
	}
	if path, isFile := strings.CutPrefix(value, "@"); isFile {
		raw, err := os.ReadFile(path)
		return bytes.TrimSpace(raw), err
	}
	return []byte(value), nil
}
