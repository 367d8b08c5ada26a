package pgmq

import (
	"context"
	"hash/maphash"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// homes are connections for statements whose text depends on the queue. The first
// run of such a statement on a connection costs ten times what the later ones do:
// the server parses and plans it, learns what the table looks like, and keeps some
// 100 KB of that. So each queue has a home, the connection where its statements run
// unless that is busy. With hundreds of queues every one finds its statement ready,
// and it is kept once and not in each connection.
type homes struct {
	// single are pools of one connection each.
	single []*pgxpool.Pool
	// shared takes what finds its home busy, and all that has none.
	shared *pgxpool.Pool
	seed   maphash.Seed
}

// openHomes makes size connections of one role possible; it opens none yet.
func (b *Broker) openHomes(ctx context.Context, r role, size int) (*homes, error) {
	h := &homes{seed: maphash.MakeSeed()}
	var err error
	if h.shared, err = b.newPool(ctx, r, max(1, size/2)); err != nil {
		return nil, err
	}
	for range size - max(1, size/2) {
		pool, err := b.newPool(ctx, r, 1)
		if err != nil {
			h.close()
			return nil, err
		}
		h.single = append(h.single, pool)
	}
	return h, nil
}

// of is where to run a statement about the queue: at its home, else where a
// connection is free. Two that ask at the same moment may get the same one, and
// then one of them waits for the other.
func (h *homes) of(queue string) *pgxpool.Pool {
	if len(h.single) == 0 {
		return h.shared
	}
	first := int(maphash.String(h.seed, queue) % uint64(len(h.single)))
	if home := h.single[first]; hasRoom(home) {
		return home
	}
	if !hasRoom(h.shared) {
		for _, other := range h.single {
			if hasRoom(other) {
				return other
			}
		}
	}
	return h.shared
}

func hasRoom(pool *pgxpool.Pool) bool {
	stat := pool.Stat()
	return stat.AcquiredConns()+stat.ConstructingConns() < stat.MaxConns()
}

// keepAwake touches the connections that are open and idle, so that the next
// statement need not find out first whether its connection still works. What it
// finds broken is gone afterwards.
func (h *homes) keepAwake(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, awakeTimeout)
	defer cancel()
	for _, pool := range h.single {
		if pool.Stat().IdleConns() > 0 && ctx.Err() == nil {
			_ = pool.Ping(ctx)
		}
	}
}

const awakeTimeout = time.Second

func (h *homes) close() {
	if h == nil {
		return
	}
	for _, pool := range append(h.single, h.shared) {
		pool.Close()
	}
}
