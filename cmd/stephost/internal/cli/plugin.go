package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stephost/stephost/host/admin"
)

func (a *app) pluginCommand() *cobra.Command {
	group := asGroup(&cobra.Command{Use: "plugin", Short: "Show, reload and reset the plugins of a running host, and make, check and try plugins without one"})
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
	}, a.pluginReloadCommand())
	a.adminFlag(group)
	group.AddCommand(a.pluginNewCommand(), a.pluginCheckCommand(), a.pluginRunCommand())
	return group
}

func (a *app) printPlugins(list []admin.Plugin) error {
	t := newTable(a.stdout, "PLUGIN", "VERSION", "STATE", "SINCE", "NEXT START", "GEN", "PIDS", "RUNNING", "RESTARTS", "CRASHES", "REASON")
	for _, plugin := range list {
		var pids []int
		running, apart := 0, ""
		for _, instance := range plugin.Instances {
			if instance.PID > 0 {
				pids = append(pids, instance.PID)
			}
			if instance.Probation && instance.PID > 0 {
				apart = fmt.Sprintf("; suspects of a crash run apart in %d", instance.PID)
			}
			running += instance.InFlight
		}
		t.row(plugin.Name, plugin.Version, pluginState(plugin), ago(plugin.Since), nextStart(plugin.NextAttempt), plugin.Generation,
			join(pids), running, plugin.Restarts, plugin.Crashes, shorten(plugin.Reason, 120)+apart)
		for _, r := range plugin.Replaced {
			t.row(plugin.Name, plugin.Version, "replaced", "-", "-", plugin.Generation, r.PID, r.InFlight, "-", "-", shorten(r.Reason, 120))
		}
		for _, old := range plugin.Retiring {
			t.row(plugin.Name, old.Version, old.State, ago(old.Since), "-", old.Generation, join(old.PIDs), old.InFlight, "-", "-",
				old.Reason)
		}
	}
	return t.flush()
}

func join(pids []int) string {
	texts := make([]string, len(pids))
	for i, pid := range pids {
		texts[i] = strconv.Itoa(pid)
	}
	return strings.Join(texts, ",")
}

// pluginState is like "ready", or "ready (2/3)" for a pool.
func pluginState(p admin.Plugin) string {
	pool := 0
	for _, instance := range p.Instances {
		if !instance.Probation {
			pool++
		}
	}
	if pool < 2 {
		return p.State
	}
	return p.State + " (" + ratio(p.Ready, pool) + ")"
}

func nextStart(at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return "in " + shortDuration(max(0, time.Until(at)))
}
