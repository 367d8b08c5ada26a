package vitals

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/stephost/stephost/host/supervisor/shim"
)

// Host is a running host to measure.
type Host struct {
	// Name is like "host a". Its successor after a kill has the same.
	Name string
	PID  int
	// Admin is the address of its endpoint.
	Admin string
	// Passing means that it is killed on purpose, or its plugins are.
	Passing, PluginsPassing bool
}

// Hosts measures hosts with their shims and plugins, and counts all processes that
// have TMPDIR in common with them.
type Hosts struct {
	// List returns those that run now.
	List func() []Host
	// TempDir is what TMPDIR is for all processes of the world and for no others.
	TempDir string
}

// Read implements Source.
func (h Hosts) Read(ctx context.Context, note Note) error {
	all, err := processesOf("TMPDIR=" + h.TempDir)
	if err != nil {
		return err
	}
	note(Subject{Name: "world"}, Processes, float64(len(all)))
	var errs []error
	for _, host := range h.List() {
		i := slices.IndexFunc(all, func(p process) bool { return p.pid == host.PID })
		if i < 0 {
			continue
		}
		subject := Subject{Name: host.Name, Passing: host.Passing}
		noteProcesses(note, subject, all[i])
		shims, plugins := family(all, host.PID)
		note(subject, Processes, float64(1+len(shims)+len(plugins)))
		noteProcesses(note, Subject{Name: host.Name + ": shims", Passing: host.Passing}, shims...)
		noteProcesses(note, Subject{Name: host.Name + ": plugins", Passing: host.Passing || host.PluginsPassing}, plugins...)
		errs = append(errs, scrape(ctx, host, func(measure Measure, value float64) { note(subject, measure, value) }))
	}
	return errors.Join(errs...)
}

// noteProcesses notes the sums.
func noteProcesses(note Note, subject Subject, processes ...process) {
	var resident, fds, threads float64
	for _, p := range processes {
		resident += float64(p.resident)
		fds += float64(p.descriptors)
		threads += float64(p.threads)
	}
	note(subject, Resident, resident)
	note(subject, Descriptors, fds)
	note(subject, Threads, threads)
}

// family returns the children of a host, which are shims, and theirs.
func family(all []process, host int) (shims, plugins []process) {
	var of func(parent int)
	of = func(parent int) {
		for _, p := range all {
			if p.parent != parent {
				continue
			}
			if slices.Contains(p.args, shim.Command) {
				shims = append(shims, p)
			} else {
				plugins = append(plugins, p)
			}
			of(p.pid)
		}
	}
	of(host)
	return shims, plugins
}

// scraped returns the metrics that only the process itself knows.
func scraped() map[string]Measure {
	return map[string]Measure{"go_goroutines": Goroutines, "go_memstats_heap_inuse_bytes": Heap}
}

func scrape(ctx context.Context, host Host, note func(Measure, float64)) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host.Admin+"/metrics", nil)
	if err != nil {
		return fmt.Errorf("scrape %s: %w", host.Name, err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("scrape %s: %w", host.Name, err)
	}
	defer response.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(response.Body)
	if err != nil {
		return fmt.Errorf("scrape %s: %w", host.Name, err)
	}
	for name, measure := range scraped() {
		if family := families[name]; family != nil {
			note(measure, family.GetMetric()[0].GetGauge().GetValue())
		}
	}
	return nil
}
