package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq"
)

// sampleNamespace is where the sample orders start; the plugin is
// plugins/examples/orders.
const sampleNamespace = "orders"

// samplePause is the time between two sample orders: slow enough to read.
const samplePause = 400 * time.Millisecond

// sampleOrder is a message for the example plugin.
type sampleOrder struct {
	Step        string `json:"step"`
	OrderID     string `json:"order_id"`
	AmountCents int    `json:"amount_cents"`
}

// sampleOrders are a small stream. The run makes the ids of two runs differ.
func sampleOrders(run time.Time) []sampleOrder {
	amounts := []int{1999, 4250, 799, 12900, 0, 3499, 2750, 990}
	orders := make([]sampleOrder, len(amounts))
	for i, amount := range amounts {
		orders[i] = sampleOrder{
			Step:        "validate",
			OrderID:     fmt.Sprintf("A-%s-%d", run.Format("150405"), i+1),
			AmountCents: amount,
		}
	}
	return orders
}

// sampleQueue is the queue of the sample namespace, if the configuration has
// it.
func (d *dev) sampleQueue() (string, bool) {
	for _, ns := range d.cfg.Namespaces {
		if ns.Name == sampleNamespace {
			return ns.Queue, true
		}
	}
	return "", false
}

// sendSamples sends the sample orders one after the other.
func (d *dev) sendSamples(ctx context.Context, broker *pgmq.Broker, steps *stepPrinter) error {
	queue, ok := d.sampleQueue()
	if !ok {
		d.log.Warn("no sample orders: the configuration has no namespace for them", "namespace", sampleNamespace)
		return nil
	}
	orders := sampleOrders(time.Now())
	steps.say(fmt.Sprintf("\nsending %d sample orders to %s\n", len(orders), queue))
	tick := time.NewTicker(samplePause)
	defer tick.Stop()
	for _, order := range orders {
		body, err := json.Marshal(order)
		if err != nil {
			return fmt.Errorf("encode a sample order: %w", err)
		}
		if _, err := broker.Send(ctx, queue, []queues.Outgoing{{Body: body}}); err != nil {
			return fmt.Errorf("send a sample order: %w", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}
