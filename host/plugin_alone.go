package host

import (
	"fmt"

	"github.com/stephost/stephost/host/supervisor"
)

// PluginAlone returns what starts one process of a plugin of opts.Config as a
// host does, for a caller that speaks to it by itself; see
// [supervisor.OpenSession]. Errors about the config block point at its lines.
func PluginAlone(opts Options, name string) (supervisor.Spec, supervisor.Deps, error) {
	for _, p := range opts.Config.Plugins {
		if p.Name == name {
			spec := pluginSpec(opts.Config, p, &configBinder{plugin: p, files: opts.Config.Files, log: opts.Logger})
			return spec, supervisor.Deps{Logger: opts.Logger, Shim: opts.ShimCommand, HostVersion: opts.Version}, nil
		}
	}
	return supervisor.Spec{}, supervisor.Deps{}, fmt.Errorf("the configuration has no plugin %q", name)
}
