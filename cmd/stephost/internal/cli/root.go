package cli

import (
	"strings"

	"github.com/spf13/cobra"
)

const rootHelp = `stephost runs the steps of your workflows. It takes step messages from namespace
queues in PostgreSQL (pgmq), hands each one to the plugin that owns the
namespace, and settles the message with the outcome.

Commands that ask a running host find it by --admin, by STEPHOST_ADMIN, or by
host.admin of the configuration file. Its token is STEPHOST_ADMIN_TOKEN, or the
file's where the address is the file's.

Commands that work on queues take the database from --dsn, from DATABASE_URL,
from the queue block of the configuration file, or from a running
` + "`stephost dev`" + ` beside that file.

Exit codes:
  0    done
  1    failed
  2    wrong usage, or an invalid configuration
  3    no host answers
  4-6  of plugin run: the step did not succeed; its help tells them apart
  130  interrupted; of run and dev: a second signal cut the drain short`

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "stephost",
		Short:         "Run the steps of workflows from PostgreSQL queues in plugins",
		Long:          rootHelp,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			a.configGiven = cmd.Flags().Changed("config")
			return nil
		},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usagef(cmd, "%w", err) })
	root.PersistentFlags().StringVar(&a.configPath, "config", "config.hcl", "configuration file")
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print JSON, for programs")
	_ = root.MarkPersistentFlagFilename("config", "hcl")

	root.AddCommand(
		a.runCommand(), a.devCommand(), a.validateCommand(), a.reloadCommand(), a.statusCommand(),
		a.modeCommand(), a.namespaceCommand(), a.pluginCommand(),
		a.queueCommand(), a.deadCommand(), a.doctorCommand(), a.benchCommand(), a.versionCommand(),
	)
	asGroup(root)
	return root
}

// asGroup makes a command that only holds others complain about a name that it
// does not know.
func asGroup(cmd *cobra.Command) *cobra.Command {
	cmd.SuggestionsMinimumDistance = 2
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
			return usagef(cmd, "unknown command %q, did you mean %s?", args[0], strings.Join(similar, " or "))
		}
		return usagef(cmd, "unknown command %q", args[0])
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

// arguments makes cobra's complaint about the number of arguments a usage
// error that shows what they are.
func arguments(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usagef(cmd, "%w, usage is %q", err, cmd.UseLine())
		}
		return nil
	}
}
