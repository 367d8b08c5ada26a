package cli

import (
	"github.com/spf13/cobra"

	"github.com/stephost/stephost/host/admin"
)

func (a *app) namespaceCommand() *cobra.Command {
	group := asGroup(&cobra.Command{Use: "namespace", Aliases: []string{"ns"}, Short: "Show, pause and resume the namespaces of a running host"})
	group.AddCommand(
		&cobra.Command{
			Use:   "list",
			Short: "List namespaces with their counts since the host's start",
			Args:  arguments(cobra.NoArgs),
			RunE: func(cmd *cobra.Command, _ []string) error {
				client, err := a.client()
				if err != nil {
					return err
				}
				list, err := client.Namespaces(cmd.Context())
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(list)
				}
				return a.printNamespaces(list)
			},
		},
		a.pauseCommand("pause", "Stop claiming; what runs finishes, messages stay queued", true),
		a.pauseCommand("resume", "Claim again", false),
	)
	return a.adminFlag(group)
}

func (a *app) pauseCommand(verb, short string, paused bool) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " NAMESPACE",
		Short: short,
		Args:  arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			ns, err := client.SetPaused(cmd.Context(), args[0], paused)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(ns)
			}
			return a.printf("namespace %s is %s\n", ns.Name, namespaceState(ns))
		},
	}
}

func namespaceState(ns admin.Namespace) string {
	switch {
	case ns.Leaving:
		return "leaving: it was removed from the configuration"
	case ns.Paused:
		return "paused"
	case ns.Blocked != "":
		return "blocked: " + ns.Blocked
	case len(ns.Faults) > 0:
		return "failing: " + ns.Faults[0]
	default:
		return "active"
	}
}

func (a *app) printNamespaces(list []admin.Namespace) error {
	t := newTable(a.stdout, "NAMESPACE", "PLUGIN", "QUEUE", "STATE", "RUNNING", "OK", "RETRIED", "DEAD", "SNOOZED", "OLDEST WAIT", "LAST ERROR")
	for _, ns := range list {
		t.row(ns.Name, ns.Plugin, ns.Queue, shorten(namespaceState(ns), 60), ratio(ns.InFlight, ns.Concurrency),
			ns.Succeeded, ns.Retried, ns.DeadLettered, ns.Snoozed,
			shortDuration(ns.OldestWait.Duration()), shorten(ns.LastError, 50))
	}
	return t.flush()
}
