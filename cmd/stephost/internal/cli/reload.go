package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/hashicorp/hcl/v2"
	"github.com/spf13/cobra"

	"github.com/stephost/stephost/host"
	"github.com/stephost/stephost/host/admin"
	"github.com/stephost/stephost/host/config"
)

func (a *app) reloadCommand() *cobra.Command {
	return a.adminFlag(&cobra.Command{
		Use:   "reload",
		Short: "Make a running host take over its changed configuration file",
		Long: `Make a running host read its configuration file again and take over what has
changed, as SIGHUP does: plugins, namespaces, limits and the mode. No step is
lost or interrupted. Steps of removed namespaces finish; their messages stay
queued.

Everything is checked first, and changed plugins must come up: otherwise nothing
changes, what is wrong is shown, and the exit code is 2. What takes effect at the
next start only is shown as a warning. A mode that was set by an operator and
paused namespaces stay so.

Where host.admin has changed, name the address that is in force with --admin.`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			report, err := client.Reload(cmd.Context())
			var refusal *admin.APIError
			if errors.As(err, &refusal) && refusal.Diagnostics != "" {
				_, _ = fmt.Fprint(a.stderr, refusal.Diagnostics)
				return &usageError{err}
			}
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(report)
			}
			return a.printReload(report)
		},
	})
}

// printReload shows what a host has taken over.
func (a *app) printReload(report admin.Reload) error {
	if !report.Changed {
		return a.printf("nothing has changed\n")
	}
	var out strings.Builder
	_, _ = fmt.Fprintf(&out, "reloaded in %s\n", shortDuration(report.Took.Duration()))
	writeMembers(&out, "plugin", report.Plugins)
	writeMembers(&out, "namespace", report.Namespaces)
	for _, c := range report.Settings {
		_, _ = fmt.Fprintf(&out, "setting %s\n", changeText(c))
	}
	for _, warning := range report.Warnings {
		_, _ = fmt.Fprintf(&out, "warning: %s\n", warning)
	}
	return a.printf("%s", out.String())
}

func writeMembers(out *strings.Builder, kind string, m admin.Members) {
	for _, name := range m.Added {
		_, _ = fmt.Fprintf(out, "%s %s added\n", kind, name)
	}
	for _, member := range m.Changed {
		_, _ = fmt.Fprintf(out, "%s %s changed\n", kind, member.Name)
		for _, c := range member.Keys {
			_, _ = fmt.Fprintf(out, "  %s\n", changeText(c))
		}
	}
	for _, name := range m.Removed {
		_, _ = fmt.Fprintf(out, "%s %s removed\n", kind, name)
	}
}

// changeText is like "host.log_level (config.hcl:3): "info" → "debug"".
func changeText(c admin.Change) string {
	text := c.Key
	if c.Place != "" {
		text += " (" + c.Place + ")"
	}
	if c.Values != "" {
		text += ": " + c.Values
	}
	return text
}

// reader reads the configuration file again for a host that runs with it.
func (a *app) reader(opts ...config.Option) host.Load {
	return func() (*config.Config, hcl.Diagnostics) { return config.Load(a.configPath, opts...) }
}

// hangups are the SIGHUPs that arrive from now on: they do not end the process
// any more.
func hangups() (signals <-chan os.Signal, stop func()) {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGHUP)
	return ch, func() { signal.Stop(ch) }
}

// serve runs a host that reloads at each hangup. What comes of that the host
// tells the log.
func serve(ctx context.Context, h *host.Host, hangups <-chan os.Signal) error {
	ctx, cancel := context.WithCancel(ctx)
	var reloading sync.WaitGroup
	reloading.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hangups:
				_, _ = h.Reload(ctx)
			}
		}
	})
	err := h.Run(ctx)
	cancel()
	reloading.Wait()
	return err
}
