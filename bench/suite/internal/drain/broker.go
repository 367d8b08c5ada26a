package drain

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stephost/stephost/bench/suite/internal/child"
	"github.com/stephost/stephost/bench/suite/internal/hostproc"
	"github.com/stephost/stephost/bench/suite/internal/suite"
	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq"
)

// brokerSetting is the host's own way to the database without the host: its
// statements and its decoding, and no process boundary. What is between it and
// the SQL limit, the statements cost; what is between it and the host, the rest.
type brokerSetting struct {
	Workers, Batch int
	DSN            string
}

const brokerChild = "broker-drain"

func (s brokerSetting) contender() contender {
	return contender{
		label: fmt.Sprintf("the host's statements alone, %d connections, batch %d", s.Workers, s.Batch),
		work:  pgmqQueue{},
		start: func(ctx context.Context, env *suite.Env, db *suite.Database) (runner, error) {
			s.DSN = db.DSN
			return startChild(ctx, env, brokerChild, s)
		},
	}
}

// BrokerProgram claims and settles through the product's broker, as a child.
func BrokerProgram(ctx context.Context, config json.RawMessage, serve func(child.Answer) error) error {
	var s brokerSetting
	if err := json.Unmarshal(config, &s); err != nil {
		return err
	}
	broker, err := pgmq.Open(ctx, pgmq.Options{DSN: s.DSN})
	if err != nil {
		return err
	}
	defer broker.Close()
	return serve(func(ctx context.Context, ask json.RawMessage) (any, error) {
		var r request
		if err := json.Unmarshal(ask, &r); err != nil {
			return nil, err
		}
		var settled atomic.Int64
		group, ctx := errgroup.WithContext(ctx)
		for range s.Workers {
			group.Go(func() error {
				for settled.Load() < int64(r.Steps) {
					n, err := claimAndSettle(ctx, broker, s.Batch)
					if err != nil {
						return err
					}
					settled.Add(int64(n))
				}
				return nil
			})
		}
		err := group.Wait()
		return done{int(settled.Load())}, err
	})
}

func claimAndSettle(ctx context.Context, broker *pgmq.Broker, batch int) (int, error) {
	claimed, err := broker.Claim(ctx, queues.ClaimRequest{Queue: hostproc.Queue, Limit: batch, Lease: 30 * time.Second})
	if err != nil || len(claimed) == 0 {
		return 0, err
	}
	settlements := make([]queues.Settlement, len(claimed))
	for i, d := range claimed {
		settlements[i] = queues.Settlement{Lease: d.Lease, Action: queues.Complete{}}
	}
	for _, result := range broker.Settle(ctx, hostproc.Queue, settlements) {
		if result.Status != queues.Settled {
			return 0, fmt.Errorf("a settlement was not: %v, %w", result.Status, result.Err)
		}
	}
	return len(claimed), nil
}
