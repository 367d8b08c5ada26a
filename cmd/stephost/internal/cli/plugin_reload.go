package cli

import (
	"cmp"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stephost/stephost/host/admin"
)

func (a *app) pluginReloadCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "reload NAME",
		Short: "Start a plugin's program anew and swap the old processes for the new ones; no step is lost",
		Args:  arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			swap, err := client.ReloadPlugin(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(swap)
			}
			return a.printf("plugin %s: %s → %s in %s\n", swap.Plugin,
				versionText(swap.Old), versionText(swap.New), shortDuration(swap.Took.Duration()))
		},
	}
}

// versionText is like "v1.2.0 (generation 3, pid 4711)".
func versionText(v admin.PluginVersion) string {
	text := fmt.Sprintf("%s (generation %d", cmp.Or(v.Version, "unknown version"), v.Generation)
	if len(v.PIDs) > 0 {
		text += ", pid " + join(v.PIDs)
	}
	return text + ")"
}
