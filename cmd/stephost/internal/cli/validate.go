package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/stephost/stephost/host"
	"github.com/stephost/stephost/host/config"
	"github.com/stephost/stephost/queues/pgmq"
)

func (a *app) validateCommand() *cobra.Command {
	var (
		db                        databaseFlags
		checkPlugins, checkQueues bool
	)
	cmd := &cobra.Command{
		Use:   "validate",
		Short: "Check the configuration file and show everything that is wrong with it",
		Args:  arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			if checkPlugins {
				if err := a.checkPlugins(cmd.Context(), cfg); err != nil {
					return err
				}
			}
			if checkQueues {
				if err := a.checkQueues(cmd.Context(), db, cfg); err != nil {
					return err
				}
			}
			if a.json {
				return a.printJSON(map[string]any{"valid": true, "plugins": len(cfg.Plugins), "namespaces": len(cfg.Namespaces)})
			}
			return a.printf("%s is valid: %s, %s\n", a.configPath,
				countOf(int64(len(cfg.Plugins)), "plugin"), countOf(int64(len(cfg.Namespaces)), "namespace"))
		},
	}
	db.register(cmd)
	cmd.Flags().BoolVar(&checkPlugins, "plugins", false, "also start each plugin once and check its config block against what it takes")
	cmd.Flags().BoolVar(&checkQueues, "queues", false, "also check that the queues exist in the database")
	return cmd
}

// checkPlugins shows what is wrong with the plugins and their config blocks.
func (a *app) checkPlugins(ctx context.Context, cfg *config.Config) error {
	options, err := a.hostOptions(cfg, hclog.NewNullLogger())
	if err != nil {
		return err
	}
	diags, err := host.CheckPlugins(ctx, options)
	if err != nil {
		return err
	}
	return a.report(diags, cfg)
}

// checkQueues finds queues that the file names and the database lacks.
func (a *app) checkQueues(ctx context.Context, db databaseFlags, cfg *config.Config) error {
	return a.withBroker(ctx, db, func(broker *pgmq.Broker) error {
		var missing []string
		for _, name := range configuredQueues(cfg) {
			exists, err := broker.Exists(ctx, name)
			if err != nil {
				return err
			}
			if !exists {
				missing = append(missing, name)
			}
		}
		if len(missing) > 0 {
			return fmt.Errorf("the database has no %s: run `stephost queue create %s`", strings.Join(missing, ", "), strings.Join(missing, " "))
		}
		return nil
	})
}

// configuredQueues are all queues that a configuration names, each once.
func configuredQueues(cfg *config.Config) []string {
	var names []string
	seen := map[string]bool{"": true}
	for _, ns := range cfg.Namespaces {
		for _, name := range []string{ns.Queue, ns.DeadLetter, ns.ResultQueue} {
			if !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		}
	}
	return names
}
