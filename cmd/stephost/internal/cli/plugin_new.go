package cli

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stephost/stephost/cmd/stephost/internal/scaffold"
)

const pluginNewHelp = `Make a new plugin in DIR: a Go module of its own with a handler, a config block,
tests, a Makefile and a README. DIR must be empty or not exist.

A release of stephost requires its own version of the SDK. A development build
replaces the SDK by the source tree that it was built from.`

func (a *app) pluginNewCommand() *cobra.Command {
	var name, module, sdk string
	cmd := &cobra.Command{
		Use:     "new DIR",
		Short:   "Make a new plugin in Go",
		Long:    pluginNewHelp,
		Example: "  stephost plugin new payments\n  stephost plugin new ./plugins/pay --name payments --module corp.example/payments",
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			source, err := scaffold.FindSDK(sdk)
			if err != nil {
				return err
			}
			project, err := scaffold.New(args[0], name, module, source)
			if err != nil {
				return usagef(cmd, "%w", err)
			}
			if err := project.Create(); err != nil {
				return err
			}
			tidied := project.Tidy(cmd.Context())
			if tidied != nil && !errors.Is(tidied, scaffold.ErrNoGo) {
				return fmt.Errorf("the plugin is in %s, but %w; run it there again", project.Dir, tidied)
			}
			if a.json {
				return a.printJSON(map[string]any{
					"name": project.Name, "module": project.Module, "dir": project.Dir, "tidy": tidied == nil,
				})
			}
			return a.printNextSteps(args[0], project, tidied == nil)
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "name of the plugin, its binary and its namespace (default: that of DIR)")
	cmd.Flags().StringVar(&module, "module", "", "module path (default: example.com/NAME)")
	cmd.Flags().StringVar(&sdk, "sdk", "", "source tree of stephost to build against")
	_ = cmd.MarkFlagDirname("sdk")
	return cmd
}

func (a *app) printNextSteps(dir string, p scaffold.Project, tidied bool) error {
	build := "make test build"
	if !tidied {
		build = "go mod tidy && " + build
	}
	blocks := filepath.Join(dir, "config.hcl")
	return a.printf(`Made the plugin %[1]s in %[2]s, module %[3]s.

1. Test and build it:
     cd %[2]s && %[4]s
2. Add it to a host: copy the blocks of %[5]s into your config.hcl.
   The file is also a host of its own for this plugin.
3. Run it:
     stephost dev --config %[5]s
   and send it a message, in another terminal:
     stephost queue send --config %[5]s %[1]s_queue '{"step": "greet", "name": "world"}'
%[6]s`, p.Name, quoteIfNeeded(dir), p.Module, build, quoteIfNeeded(blocks), withoutGo(tidied))
}

// withoutGo says what is missing where the go command is.
func withoutGo(tidied bool) string {
	if tidied {
		return ""
	}
	return "\nThe go command is not installed here: install Go from https://go.dev/dl before step 1.\n"
}

// quoteIfNeeded makes a path fit for a shell.
func quoteIfNeeded(path string) string {
	if strings.ContainsAny(path, " \t'\"\\$`&|;<>()*?[]#~!{}") {
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return path
}
