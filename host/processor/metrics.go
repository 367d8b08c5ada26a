package processor

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the processor's Prometheus vectors. Labels are namespaces and
// outcomes: both bounded by the configuration.
type Metrics struct {
	steps    *prometheus.CounterVec
	waited   *prometheus.HistogramVec
	handler  *prometheus.HistogramVec
	total    *prometheus.HistogramVec
	claimed  *prometheus.HistogramVec
	settled  *prometheus.HistogramVec
	faults   *prometheus.CounterVec
	running  *prometheus.GaugeVec
	suspects *prometheus.GaugeVec
	settling *prometheus.GaugeVec
	used     *prometheus.GaugeVec
	limit    *prometheus.GaugeVec
}

// NewMetrics registers the vectors.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	latency := prometheus.ExponentialBuckets(0.0005, 2, 18) // 0.5 ms … 65 s
	batch := prometheus.ExponentialBuckets(1, 2, 12)
	ns := []string{"namespace"}
	m := &Metrics{
		steps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stephost_steps_total", Help: "Deliveries by how they ended.",
		}, []string{"namespace", "outcome"}),
		waited: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "stephost_pickup_seconds", Help: "How long messages had been visible when they were claimed, by the database's clock.", Buckets: latency,
		}, ns),
		handler: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "stephost_handler_seconds", Help: "Time in the handler, as the plugin measured it.", Buckets: latency,
		}, ns),
		total: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "stephost_step_seconds", Help: "Time from claim to committed settlement.", Buckets: latency,
		}, ns),
		claimed: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "stephost_claim_messages", Help: "Messages that a claim returned.", Buckets: batch,
		}, ns),
		settled: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "stephost_settlement_messages", Help: "Messages in a settlement batch.", Buckets: batch,
		}, ns),
		faults: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stephost_lane_faults_total", Help: "Faults of a lane by kind: claim, settle, refused, adopted, abandoned, stray_result.",
		}, []string{"namespace", "kind"}),
		running: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "stephost_steps_in_flight", Help: "Steps that hold a slot.",
		}, ns),
		suspects: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "stephost_suspects", Help: "Messages that were in flight in a crash of the plugin and wait for, or are in, its probation.",
		}, ns),
		settling: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "stephost_steps_settling", Help: "Outcomes that wait for their settlement.",
		}, ns),
		used: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "stephost_buffer_used", Help: "How full a bounded buffer is.",
		}, []string{"buffer"}),
		limit: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "stephost_buffer_limit", Help: "The bound of a buffer.",
		}, []string{"buffer"}),
	}
	reg.MustRegister(m.steps, m.waited, m.handler, m.total, m.claimed, m.settled,
		m.faults, m.running, m.suspects, m.settling, m.used, m.limit)
	return m
}

func (m *Metrics) buffer(name string, used, limit float64) {
	m.used.WithLabelValues(name).Set(used)
	m.limit.WithLabelValues(name).Set(limit)
}

// laneMetrics are one lane's children, looked up once.
type laneMetrics struct {
	steps                                    map[Outcome]prometheus.Counter
	waited, handler, total, claimed, settled prometheus.Observer
	claimFault, settleFault, refused         prometheus.Counter
	adopted, abandoned, stray                prometheus.Counter
	running, suspects, settling              level
}

func (m *Metrics) lane(namespace string) laneMetrics {
	steps := make(map[Outcome]prometheus.Counter, len(Outcomes()))
	for _, o := range Outcomes() {
		steps[o] = m.steps.WithLabelValues(namespace, string(o))
	}
	fault := func(kind string) prometheus.Counter { return m.faults.WithLabelValues(namespace, kind) }
	return laneMetrics{
		steps:       steps,
		waited:      m.waited.WithLabelValues(namespace),
		handler:     m.handler.WithLabelValues(namespace),
		total:       m.total.WithLabelValues(namespace),
		claimed:     m.claimed.WithLabelValues(namespace),
		settled:     m.settled.WithLabelValues(namespace),
		claimFault:  fault("claim"),
		settleFault: fault("settle"),
		refused:     fault("refused"),
		adopted:     fault("adopted"),
		abandoned:   fault("abandoned"),
		stray:       fault("stray_result"),
		running:     level{gauge: m.running.WithLabelValues(namespace)},
		suspects:    level{gauge: m.suspects.WithLabelValues(namespace)},
		settling:    level{gauge: m.settling.WithLabelValues(namespace)},
	}
}

// forget removes the series of a namespace that is gone.
func (m *Metrics) forget(namespace string) {
	labels := prometheus.Labels{"namespace": namespace}
	for _, vec := range []interface {
		DeletePartialMatch(labels prometheus.Labels) int
	}{m.steps, m.waited, m.handler, m.total, m.claimed, m.settled, m.faults, m.running, m.suspects, m.settling} {
		vec.DeletePartialMatch(labels)
	}
}

// level is one lane's part of a gauge: while a namespace moves to another queue
// two lanes have it. The lane's mutex guards it.
type level struct {
	gauge prometheus.Gauge
	now   int
}

func (l *level) set(now int) {
	l.gauge.Add(float64(now - l.now))
	l.now = now
}
