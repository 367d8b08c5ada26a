package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stephost/stephost/host/admin"
	"github.com/stephost/stephost/host/config"
	"github.com/stephost/stephost/queues"
)

// reportOf translates a difference that has been put into force.
func reportOf(diff config.Diff) admin.Reload {
	report := admin.Reload{
		Changed:    !diff.Empty(),
		Plugins:    reportMembers(diff.Plugins),
		Namespaces: reportMembers(diff.Namespaces),
		Settings:   reportChanges(diff.Live),
		Restart:    reportChanges(diff.Restart),
	}
	for _, c := range report.Restart {
		warning := c.Key + " changed"
		if c.Place != "" {
			warning += " (" + c.Place + ")"
		}
		report.Warnings = append(report.Warnings, warning+": takes effect at the next start")
	}
	return report
}

// missingQueuesTimeout bounds the look for queues that a reload warns about.
const missingQueuesTimeout = 5 * time.Second

// missingQueues are warnings about queues that the namespaces need and the
// database lacks: those namespaces wait.
func (h *Host) missingQueues(ctx context.Context, cfg *config.Config) (warnings []string) {
	ctx, cancel := context.WithTimeout(ctx, missingQueuesTimeout)
	defer cancel()
	for _, ns := range cfg.Namespaces {
		for _, queue := range []string{ns.Queue, ns.ResultQueue} {
			if queue == "" {
				continue
			}
			if exists, err := h.broker.Exists(ctx, queue); err == nil && !exists {
				warnings = append(warnings, fmt.Sprintf("namespace %q waits: %v", ns.Name, &queues.MissingQueueError{Queue: queue}))
			}
		}
	}
	return warnings
}

func reportMembers(m config.Members) admin.Members {
	members := admin.Members{Added: m.Added, Removed: m.Removed}
	for _, member := range m.Changed {
		members.Changed = append(members.Changed, admin.Member{Name: member.Name, Keys: reportChanges(member.Keys)})
	}
	return members
}

func reportChanges(changes []config.Change) []admin.Change {
	list := make([]admin.Change, 0, len(changes))
	for _, c := range changes {
		list = append(list, admin.Change{Key: c.Path, Place: c.Place(), Values: c.Values()})
	}
	return list
}

// noteReload tells the log, whoever asked for the reload.
func (h *Host) noteReload(report admin.Reload, err error) {
	if err != nil {
		h.reloads.counter.WithLabelValues("refused").Inc()
		args := []any{"error", err}
		var invalid *admin.InvalidConfigError
		if errors.As(err, &invalid) {
			args = append(args, "diagnostics", invalid.Diagnostics)
		}
		h.log.Error("configuration not reloaded", args...)
		return
	}
	h.reloads.counter.WithLabelValues("applied").Inc()
	count := func(m admin.Members) []int { return []int{len(m.Added), len(m.Changed), len(m.Removed)} }
	h.log.Info("configuration reloaded", "changed", report.Changed, "took", report.Took.Duration().Round(time.Millisecond),
		"plugins_added_changed_removed", count(report.Plugins), "namespaces_added_changed_removed", count(report.Namespaces),
		"settings", len(report.Settings))
	for _, warning := range report.Warnings {
		h.log.Warn("configuration not taken over as written", "warning", warning)
	}
}
