package drain

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/stephost/stephost/bench/suite/internal/suite"
)

// price is what the server has counted.
type price struct {
	// Bytes and Syncs are those of the write-ahead log. Syncs is 0 where the server
	// does not tell (PostgreSQL 18).
	Bytes, Syncs float64
	// Transactions are those that were committed, XIDs the ids that were used up.
	Transactions, XIDs float64
	// Dead are the rows that were deleted or replaced.
	Dead float64
}

func (p price) since(earlier price) price {
	return price{
		Bytes: p.Bytes - earlier.Bytes, Syncs: p.Syncs - earlier.Syncs,
		Transactions: p.Transactions - earlier.Transactions, XIDs: p.XIDs - earlier.XIDs, Dead: p.Dead - earlier.Dead,
	}
}

func (p price) per(steps int) price {
	n := float64(steps)
	return price{
		Bytes: p.Bytes / n, Syncs: p.Syncs / n,
		Transactions: p.Transactions / n, XIDs: p.XIDs / n, Dead: p.Dead / n,
	}
}

// ask reads the counters. A session that is idle keeps what it has counted to itself
// for ten seconds, and tells it when it ends: so all others are ended, and the hosts
// connect anew.
func ask(ctx context.Context, db *suite.Database) (p price, err error) {
	const others = `FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`
	err = db.Conn.QueryRow(ctx, `SELECT pg_current_wal_insert_lsn() - '0/0', pg_snapshot_xmax(pg_current_snapshot())::text::float8`).Scan(&p.Bytes, &p.XIDs)
	if err != nil {
		return p, fmt.Errorf("read where the log is: %w", err)
	}
	var old []int
	if err := db.Conn.QueryRow(ctx, `SELECT coalesce(array_agg(pid), '{}') `+others).Scan(&old); err != nil {
		return p, fmt.Errorf("list the sessions: %w", err)
	}
	for left := len(old); left > 0; {
		if left, err = db.Count(ctx, fmt.Sprintf(`SELECT count(pg_terminate_backend(pid)) %s AND pid IN (%s)`, others, list(old))); err != nil {
			return p, err
		}
		time.Sleep(10 * time.Millisecond)
	}
	err = db.Conn.QueryRow(ctx, `SELECT coalesce((to_jsonb(w)->>'wal_sync')::float8, 0), d.xact_commit, d.tup_updated + d.tup_deleted
		FROM pg_stat_wal w, pg_stat_database d WHERE d.datname = current_database()`).Scan(&p.Syncs, &p.Transactions, &p.Dead)
	if err != nil {
		return p, fmt.Errorf("read the server's counters: %w", err)
	}
	return p, nil
}

func list(pids []int) string {
	var all []string
	for _, pid := range pids {
		all = append(all, strconv.Itoa(pid))
	}
	return strings.Join(all, ", ")
}
