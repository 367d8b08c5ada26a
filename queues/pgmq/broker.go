package pgmq

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stephost/stephost/queues"
)

// Broker is the queues.Broker on PostgreSQL. It is safe for concurrent use.
type Broker struct {
	opts Options

	// work is for claims, bodies, probes and tooling; each of the other two has
	// one purpose, so that a burst of one kind never delays another.
	work, settle, beat *pgxpool.Pool
	// prune is the connection of Pass: it is opened by the first one.
	prune *pgxpool.Pool
	// once is how to run a statement whose text is one of many: unprepared, unless
	// the DSN has its own way.
	once pgx.QueryExecMode

	incarnation atomic.Uint64
	pooled      atomic.Bool // a pooler stands before the server
	layouts     layoutCache
	statements  statementCache
	floors      floors
	announce    announcer
	bookkeeping bookkeeping
	existence   existence
}

var _ queues.Broker = (*Broker)(nil)

// Bounds of what the broker waits for when the caller's context does not end
// sooner.
const (
	workTimeout   = 30 * time.Second
	settleTimeout = 60 * time.Second
	beatTimeout   = 15 * time.Second
	listenTimeout = 15 * time.Second
)

// Open connects to the database. It fails, in one clear line that never has the
// password in it, when the DSN is malformed, the server cannot be reached, is
// older than PostgreSQL 14 or is a read-only standby. The caller closes the
// broker.
func Open(ctx context.Context, opts Options) (*Broker, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	b := &Broker{opts: opts}
	b.floors = newFloors(time.Now, opts.LongWalk)
	b.existence.now = time.Now
	if _, err := parseDSN(opts.DSN, opts, claims); err != nil {
		return nil, err
	}
	if _, err := parseDSN(opts.ListenDSN, opts, listening); err != nil {
		return nil, fmt.Errorf("listen_dsn: %w", err)
	}
	if err := b.openPools(ctx); err != nil {
		b.Close()
		return nil, err
	}
	if err := b.announce.resolve(ctx, b); err != nil {
		b.Close()
		return nil, b.explain(err)
	}
	return b, nil
}

// openPools gives heartbeats one connection, settlements three of eight and
// claims, probes and tooling the rest. Pruning has one more.
func (b *Broker) openPools(ctx context.Context) error {
	settle := max(1, b.opts.MaxConnections*3/8)
	for _, p := range []struct {
		pool **pgxpool.Pool
		role role
		size int
	}{
		{&b.work, claims, b.opts.MaxConnections - settle - 1},
		{&b.settle, settlements, settle},
		{&b.beat, heartbeats, 1},
		{&b.prune, pruning, 1},
	} {
		pool, err := b.newPool(ctx, p.role, p.size)
		if err != nil {
			return err
		}
		*p.pool = pool
	}
	if b.once = b.work.Config().ConnConfig.DefaultQueryExecMode; b.once == pgx.QueryExecModeCacheStatement {
		b.once = pgx.QueryExecModeExec
	}
	ctx, cancel := context.WithTimeout(ctx, b.opts.ConnectTimeout)
	defer cancel()
	err := b.work.Ping(ctx)
	if errors.Is(err, errPooled) {
		err = b.work.Ping(ctx)
	}
	if err != nil {
		return connectError(b.work.Config().ConnConfig, err)
	}
	return nil
}

// Close ends all connections. Subscriptions are closed by who opened them. It
// waits for statements that are under way.
func (b *Broker) Close() {
	for _, pool := range []*pgxpool.Pool{b.work, b.settle, b.beat, b.prune} {
		if pool != nil {
			pool.Close()
		}
	}
}

// Incarnation implements queues.Broker. It is the start time of the server that
// the newest connection was made to.
func (b *Broker) Incarnation() uint64 { return b.incarnation.Load() }

// Ping implements queues.Broker.
func (b *Broker) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	if err := b.work.Ping(ctx); err != nil {
		return connectError(b.work.Config().ConnConfig, err)
	}
	return nil
}

const existsFor = 3 * time.Second

// existence remembers for a few seconds which queues can be sent to.
type existence struct {
	now   func() time.Time
	mu    sync.Mutex
	known map[string]existenceEntry
}

type existenceEntry struct {
	exists bool
	until  time.Time
}

// Exists implements queues.Broker. An answer is up to three seconds old.
func (b *Broker) Exists(ctx context.Context, queue string) (bool, error) {
	e := &b.existence
	e.mu.Lock()
	entry, ok := e.known[queue]
	e.mu.Unlock()
	if ok && e.now().Before(entry.until) {
		return entry.exists, nil
	}
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	found, err := readLayouts(ctx, b.work, []string{queue})
	if err != nil {
		return false, b.explain(err)
	}
	_, exists := found[queue]
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.known == nil || len(e.known) >= maxCached {
		e.known = make(map[string]existenceEntry)
	}
	e.known[queue] = existenceEntry{exists: exists, until: e.now().Add(existsFor)}
	return exists, nil
}

func (b *Broker) forgetExistence(queue string) {
	b.existence.mu.Lock()
	defer b.existence.mu.Unlock()
	delete(b.existence.known, queue)
}
