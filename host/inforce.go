package host

import (
	"strings"

	"github.com/stephost/stephost/host/config"
)

// inForce is the configuration that the host runs with, and what is looked up in
// it all the time. It is never changed, only replaced: by a reload.
type inForce struct {
	cfg        *config.Config
	queues     map[string]string // by namespace
	namespaces map[string]string // by queue
}

func newInForce(cfg *config.Config) *inForce {
	f := &inForce{
		cfg:        cfg,
		queues:     make(map[string]string, len(cfg.Namespaces)),
		namespaces: make(map[string]string, len(cfg.Namespaces)),
	}
	for _, ns := range cfg.Namespaces {
		f.queues[ns.Name] = ns.Queue
		f.namespaces[ns.Queue] = ns.Name
	}
	return f
}

// cfg is the configuration in force.
func (h *Host) cfg() *config.Config { return h.current.Load().cfg }

func (f *inForce) queueOf(namespace string) (string, bool) {
	queue, ok := f.queues[namespace]
	return queue, ok
}

// namespaceOf names the namespace of a queue. Queues of others are named as
// tasker-core does it.
func (f *inForce) namespaceOf(queue string) string {
	if ns, ok := f.namespaces[queue]; ok {
		return ns
	}
	return strings.TrimSuffix(strings.TrimPrefix(queue, "worker_"), "_queue")
}

func queueNames(namespaces []config.Namespace) []string {
	names := make([]string, 0, len(namespaces))
	for _, ns := range namespaces {
		names = append(names, ns.Queue)
	}
	return names
}
