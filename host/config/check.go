package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/stephost/stephost/internal/hclfile"
)

// check finds what no single key can tell, and resolves what depends on other
// keys.
func (r *reading) check() {
	r.checkHost()
	r.checkEventSystem()
	if r.cfg.Queue.Kind != "pgmq" {
		r.fail(r.queueKind, "Unknown kind of queue", `The only kind of queue is "pgmq".`)
	}
	for _, p := range r.plugins {
		r.checkPlugin(p)
	}
	for _, n := range r.namespaces {
		r.checkNamespace(n)
	}
	r.checkQueues()
	r.checkDeadLetterAges()
}

func (r *reading) checkHost() {
	h := &r.cfg.Host
	if h.ID == "" {
		id, err := r.opts.hostID()
		if err != nil {
			r.diags = append(r.diags, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: "No default for host.id",
				Detail: fmt.Sprintf("The machine's name is not known (%v). Set id in the host block.", err)})
		}
		h.ID = id
	}
	if at, written := r.ranges[&h.Admin.Listen]; written && h.Admin.Listen != "" && !loopback(h.Admin.Listen) && h.Admin.Token == "" {
		r.fail(at, "Admin endpoint without a token",
			"Whoever reaches this address could control the host. Set token in the admin block (an unset environment variable is no token), or listen on 127.0.0.1.")
	}
}

func (r *reading) checkEventSystem() {
	e := &r.cfg.EventSystem
	if at, ok := r.ranges[&e.Listener.Enabled]; ok && !e.Listener.Enabled && e.DeploymentMode.HasEventDriven() {
		r.fail(at, "Listener is disabled", fmt.Sprintf("The deployment mode %s needs the listener. Enable it, or set deployment_mode to \"PollingOnly\".", e.DeploymentMode))
	}
	if at, ok := r.ranges[&e.FallbackPoller.Enabled]; ok && !e.FallbackPoller.Enabled && e.DeploymentMode.HasPolling() {
		r.fail(at, "Fallback poller is disabled", fmt.Sprintf("The deployment mode %s needs the fallback poller. Enable it, or set deployment_mode to \"EventDrivenOnly\".", e.DeploymentMode))
	}
}

func (r *reading) checkPlugin(p *Plugin) {
	r.checkLabel("plugin", p.Name, p.DeclRange)
	p.CommandRange = r.at(&p.Command, p.DeclRange)
	p.SHA256 = strings.ToLower(p.SHA256)
	if p.Restart.BackoffInitial > p.Restart.BackoffMax {
		at := r.at(&p.Restart.BackoffInitial, r.at(&p.Restart.BackoffMax, p.DeclRange))
		r.fail(at, "Contradicting back-off", fmt.Sprintf("backoff_initial (%v) is above backoff_max (%v).", p.Restart.BackoffInitial, p.Restart.BackoffMax))
	}
	r.checkIsolation(p)
	if p.Command == "" {
		return
	}
	command, err := absolute(p.DeclRange.Filename, p.Command)
	if err != nil {
		r.fail(p.CommandRange, "Plugin binary not found", hclfile.Sentence(err.Error()))
		return
	}
	p.Command = command
	if r.opts.fileChecks {
		r.checkBinary(p)
	}
}

func (r *reading) checkBinary(p *Plugin) {
	info, err := os.Stat(p.Command)
	switch {
	case os.IsNotExist(err):
		r.fail(p.CommandRange, "Plugin binary not found", fmt.Sprintf("There is no file %s. If it is one of the examples, build it: make build.", r.quote(&p.Command)))
	case err != nil:
		r.fail(p.CommandRange, "Plugin binary not found", fmt.Sprintf("Looking for %s failed: %v.", r.quote(&p.Command), rootCause(err)))
	case info.IsDir() && hasGoFiles(p.Command):
		r.checkPackage(p)
	case info.IsDir():
		r.fail(p.CommandRange, "Plugin binary is a directory", fmt.Sprintf("%s is a directory. Name the program in it.", r.quote(&p.Command)))
	case info.Mode()&0o111 == 0:
		r.fail(p.CommandRange, "Plugin binary is not executable", fmt.Sprintf("Nobody may execute %s. Make it executable: chmod +x.", r.quote(&p.Command)))
	}
}

func (r *reading) checkNamespace(n *Namespace) {
	r.checkLabel("namespace", n.Name, n.DeclRange)
	if _, known := r.labels[[2]string{"plugin", n.Plugin}]; n.Plugin != "" && !known {
		r.fail(r.at(&n.Plugin, n.DeclRange), "Unknown plugin", fmt.Sprintf("There is no plugin block with this name.%s", r.pluginHint()))
	}
	if n.Retry.Initial > n.Retry.Max {
		at := r.at(&n.Retry.Initial, r.at(&n.Retry.Max, n.DeclRange))
		r.fail(at, "Contradicting back-off", fmt.Sprintf("initial (%v) is above max (%v).", n.Retry.Initial, n.Retry.Max))
	}
	if n.Queue == "" {
		n.Queue = expand(r.cfg.Queue.QueueName, n.Name)
	}
	if n.DeadLetter == "" {
		n.DeadLetter = namespaceVariable + "_dead"
	}
	n.DeadLetter = expand(n.DeadLetter, n.Name)
	n.Archive = n.Archive.or(r.cfg.Queue.Archive)
}

func (r *reading) pluginHint() string {
	var names []string
	for _, p := range r.plugins {
		names = append(names, fmt.Sprintf("%q", p.Name))
	}
	if len(names) == 0 {
		return ""
	}
	return " The plugins are: " + strings.Join(names, ", ") + "."
}

func (r *reading) checkLabel(kind, name string, at hcl.Range) {
	if !nameShape.MatchString(name) {
		r.fail(at, fmt.Sprintf("Invalid %s name", kind), "A name has letters, digits, underscores and hyphens only.")
	}
}

// checkQueues makes sure that no queue has two meanings. pgmq keeps its tables
// in lower case, so names that differ in case alone are one queue.
func (r *reading) checkQueues() {
	owners := map[string]*Namespace{}
	for _, n := range r.namespaces {
		r.checkResolved("queue", &n.Queue, n, r.at(&n.Queue, n.DeclRange))
		r.checkResolved("dead-letter queue", &n.DeadLetter, n, r.at(&n.DeadLetter, n.DeclRange))
		queue := strings.ToLower(n.Queue)
		other, taken := owners[queue]
		if !taken {
			owners[queue] = n
			continue
		}
		if other.Name != n.Name {
			r.fail(r.at(&n.Queue, n.DeclRange), "Queue of two namespaces",
				fmt.Sprintf("The namespace %q at %s reads the queue %s too. A queue belongs to one namespace.", other.Name, place(other.DeclRange), r.quote(&n.Queue)))
		}
	}
	results := map[string]*Namespace{}
	for _, n := range r.namespaces {
		results[strings.ToLower(n.ResultQueue)] = n
	}
	for _, n := range r.namespaces {
		if owner, taken := results[strings.ToLower(n.DeadLetter)]; taken {
			r.fail(r.at(&n.DeadLetter, n.DeclRange), "Queue with two meanings",
				fmt.Sprintf("The dead-letter queue %s is also where the namespace %q sends its results, which would be taken for dead letters.", r.quote(&n.DeadLetter), owner.Name))
		}
		for _, target := range []struct {
			kind  string
			queue *string
			at    hcl.Range
		}{
			{"dead-letter queue", &n.DeadLetter, r.at(&n.DeadLetter, n.DeclRange)},
			{"result queue", &n.ResultQueue, r.at(&n.ResultQueue, n.DeclRange)},
		} {
			if owner, taken := owners[strings.ToLower(*target.queue)]; taken {
				r.fail(target.at, "Queue with two meanings",
					fmt.Sprintf("The %s %s is also where the namespace %q reads its messages, which would run them again.", target.kind, r.quote(target.queue), owner.Name))
			}
		}
	}
}

func (r *reading) checkResolved(kind string, queue *string, n *Namespace, at hcl.Range) {
	if nameShape.MatchString(n.Name) && queueName(*queue) != nil {
		r.fail(at, "Invalid queue name", fmt.Sprintf("The %s of namespace %q would be %s. %s", kind, n.Name, r.quote(queue), hclfile.Sentence(errQueueName.Error())))
	}
}

// rootCause is what the system said, without the path.
func rootCause(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	return err
}
