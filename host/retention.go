package host

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stephost/stephost/host/admin"
	"github.com/stephost/stephost/host/config"
	"github.com/stephost/stephost/host/janitor"
	"github.com/stephost/stephost/queues/pgmq"
)

// rules translates what the configuration says about old messages. Where it
// says nothing there is no rule.
func rules(namespaces []config.Namespace) (list []janitor.Rule) {
	for _, ns := range namespaces {
		keep := pgmq.ArchiveLimits{Age: ns.Archive.Retain, Rows: ns.Archive.MaxRows, Bytes: ns.Archive.MaxSize}
		if keep != (pgmq.ArchiveLimits{}) {
			list = append(list, janitor.Rule{Kind: janitor.Archive, Queue: ns.Queue, Keep: keep})
		}
	}
	for _, ns := range namespaces {
		dead := janitor.Rule{Kind: janitor.DeadLetters, Queue: ns.DeadLetter, Keep: pgmq.ArchiveLimits{Age: ns.DeadLetterRetain}}
		if ns.DeadLetterRetain > 0 && !slices.Contains(list, dead) {
			list = append(list, dead)
		}
	}
	return list
}

func retentionStatus(s janitor.Status) admin.Retention {
	retention := admin.Retention{Running: s.Running, Runs: s.Runs, LastRunAt: s.LastRunAt}
	for _, r := range s.Rules {
		retention.Rules = append(retention.Rules, admin.RetentionRule{
			Kind: string(r.Kind), Queue: r.Queue, MaxAge: admin.Seconds(r.Keep.Age), MaxRows: r.Keep.Rows, MaxBytes: r.Keep.Bytes,
			Deleted: r.Deleted, Errors: r.Errors, LastError: r.LastError,
		})
	}
	return retention
}

// retentionCollector shows what the janitor counts.
type retentionCollector struct {
	janitor *janitor.Janitor

	deleted, errors, runs, lastRun *prometheus.Desc
}

func newRetentionCollector(j *janitor.Janitor) *retentionCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("stephost_retention_"+name, help, labels, nil)
	}
	return &retentionCollector{
		janitor: j,
		deleted: desc("deleted_total", "Rows of archives and dead letters that this host deleted for their age or number.", "kind", "queue"),
		errors:  desc("errors_total", "Passes that failed.", "kind", "queue"),
		runs:    desc("runs_total", "Runs of the janitor that ended."),
		lastRun: desc("last_run_timestamp_seconds", "When the last run ended, by this host's clock."),
	}
}

// Describe implements prometheus.Collector.
func (c *retentionCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.deleted, c.errors, c.runs, c.lastRun} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *retentionCollector) Collect(ch chan<- prometheus.Metric) {
	status := c.janitor.Status()
	for _, r := range status.Rules {
		ch <- prometheus.MustNewConstMetric(c.deleted, prometheus.CounterValue, float64(r.Deleted), string(r.Kind), r.Queue)
		ch <- prometheus.MustNewConstMetric(c.errors, prometheus.CounterValue, float64(r.Errors), string(r.Kind), r.Queue)
	}
	ch <- prometheus.MustNewConstMetric(c.runs, prometheus.CounterValue, float64(status.Runs))
	if !status.LastRunAt.IsZero() {
		ch <- prometheus.MustNewConstMetric(c.lastRun, prometheus.GaugeValue, float64(status.LastRunAt.UnixMilli())/1000)
	}
}
