package pgmq

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/stephost/stephost/queues"
)

// maxCached bounds each cache that is keyed by queue names.
const maxCached = 4096

// layout is what a queue's tables look like.
type layout struct {
	queue string // as the caller spells it
	key   string // the physical name: pgmq lower-cases it
	q, a  string // quoted table names

	headers, lastRead               bool
	single                          bool // neither partitioned nor inherited from
	archive                         bool
	archiveHeaders, archiveLastRead bool

	claim, claimOne, extend string

	careful atomic.Bool // the last claim took too long
}

type querier = Querier

// layoutCache is safe for concurrent use.
type layoutCache struct {
	mu    sync.RWMutex
	known map[string]*layout
}

func (c *layoutCache) get(queue string) *layout {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.known[queue]
}

func (c *layoutCache) put(found map[string]*layout) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil || len(c.known)+len(found) > maxCached {
		c.known = make(map[string]*layout, len(found))
	}
	for name, l := range found {
		c.known[name] = l
	}
}

func (c *layoutCache) drop(names ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range names {
		delete(c.known, name)
	}
}

// refresh drops what is known and no longer true: a table may have gained
// columns, which no statement would notice.
func (c *layoutCache) refresh(names []string, found map[string]*layout) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range names {
		known := c.known[name]
		if known != nil && (found[name] == nil || known.shape() != found[name].shape()) {
			delete(c.known, name)
		}
	}
}

// shape is all of a layout that can change.
func (l *layout) shape() [6]bool {
	return [...]bool{l.headers, l.lastRead, l.single, l.archive, l.archiveHeaders, l.archiveLastRead}
}

// layoutsOf returns what is known of the queues, and reads the catalog for the
// rest in one query. A queue that does not exist is absent from the answer.
func (b *Broker) layoutsOf(ctx context.Context, db querier, names []string) (map[string]*layout, error) {
	known := make(map[string]*layout, len(names))
	var unknown []string
	for _, name := range names {
		if l := b.layouts.get(name); l != nil {
			known[name] = l
		} else if !slices.Contains(unknown, name) {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) == 0 {
		return known, nil
	}
	found, err := readLayouts(ctx, db, unknown)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(mapValues(found), func(l *layout) bool { return !l.headers }) {
		if err := b.EnsureBookkeeping(ctx); err != nil {
			return nil, err
		}
	}
	b.layouts.put(found)
	for name, l := range found {
		known[name] = l
	}
	return known, nil
}

func mapValues(m map[string]*layout) []*layout {
	values := make([]*layout, 0, len(m))
	for _, l := range m {
		values = append(values, l)
	}
	return values
}

// withLayout runs op with the queue's layout, and once more with a fresh one
// when the table turns out to have changed.
func (b *Broker) withLayout(ctx context.Context, db querier, queue string, op func(*layout) error) error {
	for attempt := 0; ; attempt++ {
		known, err := b.layoutsOf(ctx, db, []string{queue})
		if err != nil {
			return b.explain(err)
		}
		l := known[queue]
		if l == nil {
			return &queues.MissingQueueError{Queue: queue}
		}
		err = op(l)
		if attempt == 0 && isStaleLayout(err) {
			b.layouts.drop(queue)
			continue
		}
		return b.explain(err)
	}
}

// readLayouts asks the catalog, which sees the tables also where the user may
// not read them: a missing grant is then reported as such by the statement.
func readLayouts(ctx context.Context, db querier, names []string) (map[string]*layout, error) {
	tables := make([]string, 0, 2*len(names))
	for _, name := range names {
		// The server takes no such text, not even to say that there is no such table.
		if !utf8.ValidString(name) || strings.IndexByte(name, 0) >= 0 {
			continue
		}
		key := strings.ToLower(name)
		tables = append(tables, "q_"+key, "a_"+key)
	}
	rows, err := db.Query(ctx, `
		SELECT c.relname::text,
		       coalesce(bool_or(a.attname = 'headers'), false),
		       coalesce(bool_or(a.attname = 'last_read_at'), false),
		       c.relkind = 'r' AND NOT c.relhassubclass
		FROM pg_catalog.pg_class c
		JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		WHERE n.nspname = 'pgmq' AND c.relkind IN ('r', 'p') AND c.relname::text = ANY($1::text[])
		GROUP BY c.oid, c.relname, c.relkind, c.relhassubclass`, tables)
	if err != nil {
		return nil, err
	}
	type columns struct{ headers, lastRead, single bool }
	found := make(map[string]columns, len(tables))
	var (
		name string
		has  columns
	)
	_, err = pgx.ForEachRow(rows, []any{&name, &has.headers, &has.lastRead, &has.single}, func() error {
		found[name] = has
		return nil
	})
	if err != nil {
		return nil, err
	}
	layouts := make(map[string]*layout, len(names))
	for _, queue := range names {
		key := strings.ToLower(queue)
		q, ok := found["q_"+key]
		if !ok {
			continue
		}
		a, archived := found["a_"+key]
		l := &layout{
			queue: queue, key: key,
			q:       pgx.Identifier{"pgmq", "q_" + key}.Sanitize(),
			a:       pgx.Identifier{"pgmq", "a_" + key}.Sanitize(),
			headers: q.headers, lastRead: q.lastRead, single: q.single,
			archive: archived, archiveHeaders: a.headers, archiveLastRead: a.lastRead,
		}
		l.claim, l.claimOne, l.extend = claimSQL(l, false, false), claimSQL(l, true, false), extendSQL(l)
		layouts[queue] = l
	}
	return layouts, nil
}

// isStaleLayout tells errors that mean that a table is not what it was: gone,
// without a column, or with another type.
func isStaleLayout(err error) bool {
	switch sqlState(err) {
	case "42P01", "42703", "42804", "0A000":
		return true
	}
	return false
}

// statementCache keeps the text of settlement statements, whose arms depend on
// the set of target queues. It is safe for concurrent use.
type statementCache struct {
	mu    sync.Mutex
	texts map[string]string
}

const maxStatements = 512

func (c *statementCache) get(key string, build func() string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if text, ok := c.texts[key]; ok {
		return text
	}
	if c.texts == nil || len(c.texts) >= maxStatements {
		c.texts = make(map[string]string)
	}
	text := build()
	c.texts[key] = text
	return text
}

var errNoPGMQ = errors.New("pgmq is not installed in this database: run `stephost queue install`")
