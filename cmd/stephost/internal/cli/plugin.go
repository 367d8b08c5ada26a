package cli

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stephost/stephost/host/admin"
)

func (a *app) pluginCommand() *cobra.Command {
	group := asGroup(&cobra.Command{Use: "plugin", Short: "Show and reset the plugins of a running host"})
	group.AddCommand(&cobra.Command{
		Use:   "list",
		Short: "List plugins with their processes",
		Args:  arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			list, err := client.Plugins(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(list)
			}
			return a.printPlugins(list)
		},
	}, &cobra.Command{
		Use:   "reset NAME",
		Short: "Start a plugin that backs off or has tripped at once, and forget its crashes",
		Args:  arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			plugin, err := client.ResetPlugin(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(plugin)
			}
			return a.printf("plugin %s is %s\n", plugin.Name, plugin.State)
		},
	})
	return a.adminFlag(group)
}

func (a *app) printPlugins(list []admin.Plugin) error {
	t := newTable(a.stdout, "PLUGIN", "VERSION", "STATE", "SINCE", "PIDS", "RUNNING", "RESTARTS", "REASON")
	for _, plugin := range list {
		var pids []string
		running, restarts := 0, 0
		for _, instance := range plugin.Instances {
			if instance.PID > 0 {
				pids = append(pids, strconv.Itoa(instance.PID))
			}
			running += instance.InFlight
			restarts += instance.Restarts
		}
		reason := plugin.Reason
		if next := plugin.NextAttempt.Duration(); next > 0 {
			reason += " (next start in " + shortDuration(next) + ")"
		}
		t.row(plugin.Name, plugin.Version, plugin.State, ago(plugin.Since), strings.Join(pids, ","), running, restarts, shorten(reason, 80))
	}
	return t.flush()
}
