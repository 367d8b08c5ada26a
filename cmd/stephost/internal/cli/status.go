package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stephost/stephost/host/admin"
)

func (a *app) statusCommand() *cobra.Command {
	return a.adminFlag(&cobra.Command{
		Use:   "status",
		Short: "Show what a running host is doing",
		Args:  arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			status, err := client.Status(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(status)
			}
			return a.printStatus(status)
		},
	})
}

func (a *app) printStatus(s admin.Status) error {
	facts := newTable(a.stdout)
	state := "serving"
	if s.Host.Draining {
		state = "draining"
	}
	facts.row("host", fmt.Sprintf("%s, %s for %s (pid %d, version %s)", s.Host.ID, state, shortDuration(s.Host.Uptime.Duration()), s.Host.PID, s.Host.Version))
	facts.row("health", healthText(s.Health))
	facts.row("mode", modeText(admin.ModeState{Mode: s.Mode, Override: s.ModeOverride}))
	facts.row("events", fmt.Sprintf("%d processed, %d failed, %.1f/s, latency %s, last %s",
		s.Events.Processed, s.Events.Failed, s.Events.Rate, shortDuration(s.Events.Latency.Duration()), ago(s.Events.LastEventAt)))
	facts.row("listener", listenerText(s.Listener))
	facts.row("poller", pollerText(s.Poller))
	facts.row("retention", retentionText(s.Retention))
	for _, buffer := range s.Buffers {
		facts.row("buffer "+buffer.Name, fmt.Sprintf("%d of %d %s", buffer.Used, buffer.Limit, buffer.Unit))
	}
	if err := facts.flush(); err != nil {
		return err
	}
	if err := a.printf("\n"); err != nil {
		return err
	}
	if err := a.printNamespaces(s.Namespaces); err != nil {
		return err
	}
	if err := a.printf("\n"); err != nil {
		return err
	}
	return a.printPlugins(s.Plugins)
}

func healthText(h admin.Health) string {
	if len(h.Reasons) == 0 {
		return h.Status
	}
	return h.Status + ": " + strings.Join(h.Reasons, "; ")
}

func modeText(m admin.ModeState) string {
	if m.Override {
		return m.Mode.String() + " (set by an operator)"
	}
	return m.Mode.String()
}

func listenerText(l admin.Listener) string {
	if !l.Running {
		return "off"
	}
	state := "connected"
	if !l.Connected {
		state = "not connected"
	}
	text := fmt.Sprintf("%s, %d queues, %d notifications, %d reconnects", state, l.Queues, l.Notifications, l.Reconnects)
	if l.LastError != "" && !l.Connected {
		text += ": " + l.LastError
	}
	return text
}

func pollerText(p admin.Poller) string {
	if !p.Running {
		return "off"
	}
	text := fmt.Sprintf("%d polls, %d failed, next in %s", p.Polls, p.Failed, shortDuration(p.NextPoll.Duration()))
	if p.LastError != "" {
		text += ", last error: " + p.LastError
	}
	return text
}

func retentionText(r admin.Retention) string {
	if len(r.Rules) == 0 {
		return "everything is kept"
	}
	var (
		deleted uint64
		failing []string
	)
	for _, rule := range r.Rules {
		deleted += rule.Deleted
		if rule.LastError != "" {
			failing = append(failing, rule.LastError)
		}
	}
	text := fmt.Sprintf("%d rules, %d rows deleted, last run %s", len(r.Rules), deleted, ago(r.LastRunAt))
	if len(failing) > 0 {
		text += ": " + strings.Join(failing, "; ")
	}
	return text
}

func ago(at time.Time) string {
	if at.IsZero() {
		return "never"
	}
	return shortDuration(max(0, time.Since(at))) + " ago"
}
