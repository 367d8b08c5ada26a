package cli

import (
	"github.com/spf13/cobra"

	"github.com/stephost/stephost/eventsystem"
	"github.com/stephost/stephost/host/admin"
)

func (a *app) modeCommand() *cobra.Command {
	group := asGroup(&cobra.Command{Use: "mode", Short: "Show or switch how a running host finds work"})
	group.AddCommand(
		&cobra.Command{
			Use:   "get",
			Short: "Show the deployment mode",
			Args:  arguments(cobra.NoArgs),
			RunE: func(cmd *cobra.Command, _ []string) error {
				client, err := a.client()
				if err != nil {
					return err
				}
				mode, err := client.Mode(cmd.Context())
				if err != nil {
					return err
				}
				return a.printMode(mode)
			},
		},
		&cobra.Command{
			Use:       "set PollingOnly|Hybrid|EventDrivenOnly",
			Short:     "Switch the deployment mode, until the next start",
			Args:      arguments(cobra.ExactArgs(1)),
			ValidArgs: []string{"PollingOnly", "Hybrid", "EventDrivenOnly"},
			RunE: func(cmd *cobra.Command, args []string) error {
				wanted, err := eventsystem.ParseMode(args[0])
				if err != nil {
					return &usageError{err}
				}
				client, err := a.client()
				if err != nil {
					return err
				}
				mode, err := client.SetMode(cmd.Context(), wanted)
				if err != nil {
					return err
				}
				return a.printMode(mode)
			},
		},
	)
	return a.adminFlag(group)
}

func (a *app) printMode(mode admin.ModeState) error {
	if a.json {
		return a.printJSON(mode)
	}
	return a.printf("%s\n", modeText(mode))
}
