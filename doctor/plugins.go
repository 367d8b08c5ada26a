package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/stephost/stephost/host"
	"github.com/stephost/stephost/host/admin"
	"github.com/stephost/stephost/host/config"
	"github.com/stephost/stephost/internal/checkup"
)

// plugins starts each once, as a host does.
func (e *exam) plugins(ctx context.Context) ([]Finding, error) {
	if err := e.needConfig(); err != nil {
		return nil, err
	}
	if e.SkipPlugins {
		return nil, checkup.Skip("they are not to be started")
	}
	var found []Finding
	try := *e.cfg
	try.Plugins = nil
	for _, p := range e.cfg.Plugins {
		switch _, wrong := program(p); {
		case wrong:
			found = append(found, Finding{Severity: checkup.Skipped, Seen: fmt.Sprintf("plugin %q: its program cannot be started", p.Name)})
		case p.Swap == "stop_first" && e.status != nil:
			found = append(found, Finding{Severity: checkup.Skipped, Seen: fmt.Sprintf("plugin %q must not run twice (swap = \"stop_first\"), and a host runs it", p.Name)})
		default:
			try.Plugins = append(try.Plugins, p)
		}
	}
	opts := e.Host
	opts.Config = &try
	tried, err := host.TryPlugins(ctx, opts)
	if err != nil {
		return found, err
	}
	e.tried = tried
	for _, p := range tried {
		for _, f := range diagnosed(p.Diagnostics, "its namespaces get no steps") {
			f.Fixes = append(f.Fixes, command("stephost plugin check "+quoted(commandOf(&try, p.Name))))
			found = append(found, f)
		}
		found = append(found, e.outdated(p)...)
	}
	if len(found) == 0 {
		return checkup.Fine("%d plugins start, describe themselves and take their config", len(tried)), nil
	}
	return found, nil
}

func commandOf(cfg *config.Config, plugin string) string {
	at := slices.IndexFunc(cfg.Plugins, func(p config.Plugin) bool { return p.Name == plugin })
	return cfg.Plugins[at].Command
}

// outdated compares with what the running host has.
func (e *exam) outdated(p host.TriedPlugin) []Finding {
	if e.status == nil || p.Version == "" {
		return nil
	}
	at := slices.IndexFunc(e.status.Plugins, func(s admin.Plugin) bool { return s.Name == p.Name })
	if at < 0 || e.status.Plugins[at].Version == "" || e.status.Plugins[at].Version == p.Version {
		return nil
	}
	return []Finding{{
		Severity: checkup.Warning, Seen: fmt.Sprintf("the host runs version %s of plugin %q, and the program is version %s", e.status.Plugins[at].Version, p.Name, p.Version),
		Why:   "the new version is not in service",
		Fixes: []checkup.Fix{command("stephost plugin reload " + p.Name)},
	}}
}

// host asks the one that runs.
func (e *exam) host(ctx context.Context) ([]Finding, error) {
	if e.Status == nil {
		return nil, checkup.Skip("no host is to be asked")
	}
	status, err := e.Status(ctx)
	var (
		unreachable *admin.UnreachableError
		refused     *admin.APIError
	)
	switch {
	case errors.As(err, &unreachable):
		return nil, checkup.Skip("no host answers at %s", unreachable.Addr)
	case errors.As(err, &refused):
		return []Finding{{
			Severity: checkup.Warning, Seen: fmt.Sprintf("the host refuses to say how it is: %v", refused),
			Why:   "neither can anybody else ask or control it with this token",
			Fixes: []checkup.Fix{command("export STEPHOST_ADMIN_TOKEN=TOKEN")},
		}}, nil
	case err != nil:
		return nil, err
	}
	e.status = &status
	found := slices.Concat(e.hostItself(status), ofNamespaces(status), ofPlugins(status))
	if len(found) == 0 {
		return checkup.Fine("host %s, version %s, %s, mode %s", status.Host.ID, status.Host.Version, status.Health.Status, status.Mode), nil
	}
	return found, nil
}

func (e *exam) hostItself(s admin.Status) (found []Finding) {
	if e.Host.Version != "" && s.Host.Version != e.Host.Version {
		found = append(found, Finding{
			Severity: checkup.Warning, Seen: fmt.Sprintf("host %s is version %s, and this program is version %s", s.Host.ID, s.Host.Version, e.Host.Version),
			Why:   "the host was not started anew after the update",
			Fixes: []checkup.Fix{command(fmt.Sprintf("kill -TERM %d # it drains; then start it again", s.Host.PID))},
		})
	}
	if len(s.Health.Reasons) > 0 {
		severity := checkup.Warning
		if s.Health.Status == admin.HealthCritical {
			severity = checkup.Error
		}
		found = append(found, Finding{
			Severity: severity, Seen: fmt.Sprintf("host %s is %s: %s", s.Host.ID, s.Health.Status, strings.Join(s.Health.Reasons, "; ")),
			Why:   "it says so itself; the other findings may say why",
			Fixes: []checkup.Fix{command("stephost status")},
		})
	}
	if s.Listener.Running && !s.Listener.Connected {
		found = append(found, Finding{
			Severity: checkup.Warning, Seen: fmt.Sprintf("the host's listener is not connected: %s", s.Listener.LastError),
			Why:   "messages wait for the fallback poller",
			Fixes: []checkup.Fix{advice("see the finding of the check \"listen\"")},
		})
	}
	return found
}

func ofNamespaces(s admin.Status) (found []Finding) {
	for _, n := range s.Namespaces {
		switch {
		case n.Paused:
			found = append(found, Finding{
				Severity: checkup.Warning, Seen: fmt.Sprintf("namespace %q is paused by an operator", n.Name),
				Why:   "its messages wait",
				Fixes: []checkup.Fix{command("stephost namespace resume " + n.Name)},
			})
		case n.Blocked != "":
			found = append(found, Finding{
				Severity: checkup.Error, Seen: fmt.Sprintf("namespace %q takes no messages: %s", n.Name, n.Blocked),
				Why:   "its messages wait",
				Fixes: []checkup.Fix{command("stephost plugin list")},
			})
		}
	}
	return found
}

func ofPlugins(s admin.Status) (found []Finding) {
	for _, p := range s.Plugins {
		switch p.State {
		case "tripped", "backing-off":
			f := Finding{
				Severity: checkup.Error, Seen: fmt.Sprintf("plugin %q is %s: %s", p.Name, p.State, p.Reason),
				Why:   "its namespaces get no steps until it starts",
				Fixes: []checkup.Fix{command("stephost plugin reset " + p.Name + " # once the cause is gone: tries at once")},
			}
			if p.Ready > 0 {
				f.Severity = checkup.Warning
			}
			found = append(found, f)
		}
	}
	return found
}
