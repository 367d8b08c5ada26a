package cli

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/stephost/stephost/plugin/protocol"
)

// versionOf returns the stamped version, else what the Go tool knows of the
// build.
func versionOf(stamped string) string {
	if stamped != "" {
		return stamped
	}
	info, ok := debug.ReadBuildInfo()
	if ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  arguments(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			if a.json {
				return a.printJSON(map[string]any{
					"version": a.version, "go": runtime.Version(),
					"platform":         runtime.GOOS + "/" + runtime.GOARCH,
					"plugin_protocols": []int{protocol.Version},
				})
			}
			return a.printf("stephost %s (%s, %s/%s, plugin protocol %d)\n",
				a.version, runtime.Version(), runtime.GOOS, runtime.GOARCH, protocol.Version)
		},
	}
}
