package pgmq

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// ArchiveLimits say how much of a queue's archive is kept: what is within all
// of them. Zero keeps everything.
type ArchiveLimits struct {
	// Age is how long ago a message may have been archived.
	Age time.Duration
	// Rows are the newest that are kept.
	Rows int64
	// Bytes are what the newest may hold: their bodies and headers as stored,
	// and a fixed share for the row. The size of a row is the mean of a sample.
	// It is not the size of the file, which a vacuum makes free for new rows and
	// seldom smaller.
	Bytes int64
}

// ErrArchivePartitioned is wrapped when an archive is partitioned: pg_partman
// drops whole partitions of it, by its own configuration.
var ErrArchivePartitioned = errors.New("the archive is partitioned: its retention is that of pg_partman (partman.part_config)")

// MissingIndexError says that every chunk of a pass would read a whole archive.
type MissingIndexError struct{ Table string }

func (e *MissingIndexError) Error() string {
	return fmt.Sprintf("%s has no index on archived_at, which pgmq creates: run CREATE INDEX CONCURRENTLY ON %s (archived_at)", e.Table, e.Table)
}

// PruneArchive begins a pass through a queue's archive that deletes the oldest
// of what is beyond the limits. With Rows or Bytes it counts as many entries of
// an index as are kept. The error is an ErrPruning when another host is at it.
func (b *Broker) PruneArchive(ctx context.Context, queue string, keep ArchiveLimits) (*Pass, error) {
	ctx, cancel := context.WithTimeout(ctx, surveyTimeout+cancelGrace)
	defer cancel()
	p := &Pass{b: b, what: fmt.Sprintf("the archive of queue %q", queue), next: nextArchived}
	err := b.withLayout(ctx, b.prune, queue, func(l *layout) error {
		if !l.archive {
			return nil
		}
		return b.pruning(ctx, surveyTimeout, func(tx pgx.Tx) error {
			if err := checkArchive(ctx, tx, l); err != nil {
				return err
			}
			edge, err := surveyArchive(ctx, tx, l, keep)
			if err != nil || edge == nil {
				return err
			}
			p.sql, p.args = pruneArchiveSQL(l), []any{everything(), edge.at, edge.id}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("look through %s: %w", p.what, err)
	}
	return p, nil
}

func checkArchive(ctx context.Context, tx pgx.Tx, l *layout) error {
	var partitioned, indexed bool
	err := tx.QueryRow(ctx, `
		SELECT c.relkind = 'p', EXISTS (
			SELECT 1 FROM pg_catalog.pg_index i
			JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
			JOIN pg_catalog.pg_am m ON m.oid = x.relam AND m.amname = 'btree'
			JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] AND a.attname = 'archived_at'
			WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL)
		FROM pg_catalog.pg_class c WHERE c.oid = $1::text::regclass`, l.a).Scan(&partitioned, &indexed)
	switch {
	case err != nil:
		return err
	case partitioned:
		return ErrArchivePartitioned
	case !indexed:
		return &MissingIndexError{l.a}
	}
	return nil
}

// archiveEdge is the newest row that goes.
type archiveEdge struct {
	at pgtype.Timestamptz
	id int64
}

// surveyArchive finds the edge, or nil when nothing goes. It names rows, not a
// number of them, so that nothing more goes when somebody else deletes too.
func surveyArchive(ctx context.Context, tx pgx.Tx, l *layout, keep ArchiveLimits) (*archiveEdge, error) {
	var found *archiveEdge
	consider := func(sql string, args ...any) error {
		var e archiveEdge
		err := tx.QueryRow(ctx, sql, args...).Scan(&e.at, &e.id)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err == nil && (found == nil || e.newer(*found)) {
			found = &e
		}
		return err
	}
	if keep.Age > 0 {
		err := consider(`SELECT archived_at, $2::bigint FROM `+l.a+` WHERE archived_at <= statement_timestamp() - $1::bigint * interval '1 microsecond'
			ORDER BY archived_at DESC LIMIT 1`, keep.Age.Microseconds(), maxID)
		if err != nil {
			return nil, err
		}
	}
	rows := keep.Rows
	if keep.Bytes > 0 {
		size, err := archiveRowSize(ctx, tx, l)
		if err != nil {
			return nil, err
		}
		if fit := keep.Bytes / size; rows == 0 || fit < rows {
			rows = max(fit, 1)
		}
	}
	if rows > 0 {
		if err := consider(surveyRowsSQL(l), rows); err != nil {
			return nil, err
		}
	}
	return found, nil
}

const maxID = 1<<63 - 1

func (e archiveEdge) newer(than archiveEdge) bool {
	if !e.at.Time.Equal(than.at.Time) {
		return e.at.Time.After(than.at.Time)
	}
	return e.id > than.id
}

// surveyRowsSQL finds the newest row that is one too many. A batch has one
// archived_at, so ids decide within it.
func surveyRowsSQL(l *layout) string {
	return `WITH edge AS (SELECT archived_at FROM ` + l.a + ` ORDER BY archived_at DESC OFFSET $1::bigint LIMIT 1),
		newer AS (SELECT count(*) AS n FROM ` + l.a + ` WHERE archived_at > (SELECT archived_at FROM edge))
		SELECT e.archived_at, t.msg_id FROM edge e, newer, LATERAL (
			SELECT a.msg_id FROM ` + l.a + ` a WHERE a.archived_at = e.archived_at ORDER BY a.msg_id DESC OFFSET $1::bigint - newer.n LIMIT 1) t`
}

// rowOverhead is what a row takes beside body and headers: its header, line
// pointer and fixed columns, and its entries in two indexes.
const rowOverhead = 120

// archiveSample is how many blocks the sample has, about.
const archiveSample = 200

// archiveRowSize is the mean size of a row in a sample of blocks. The same seed
// takes the same blocks again, so that chance does not delete more with every
// pass.
func archiveRowSize(ctx context.Context, tx pgx.Tx, l *layout) (int64, error) {
	headers := "0"
	if l.archiveHeaders {
		headers = "coalesce(pg_column_size(headers), 0)"
	}
	var size int64
	err := tx.QueryRow(ctx, `SELECT coalesce(avg(coalesce(pg_column_size(message), 0) + `+headers+`), 0)::bigint + $1::bigint
		FROM `+l.a+` TABLESAMPLE SYSTEM ((SELECT least(100, 100.0 * $2::bigint / greatest(1, pg_relation_size($3::text::regclass) / current_setting('block_size')::bigint)))) REPEATABLE (1)`,
		rowOverhead, archiveSample, l.a).Scan(&size)
	return size, err
}

// pruneArchiveSQL deletes a chunk of the oldest rows up to the edge. It starts
// where the last chunk ended: index entries of what is deleted stay until a
// vacuum, and going over them again would make each chunk slower than the last.
func pruneArchiveSQL(l *layout) string {
	return `WITH gone AS (DELETE FROM ` + l.a + ` WHERE ctid = ANY (ARRAY(
			SELECT ctid FROM ` + l.a + `
			WHERE archived_at >= $2::timestamptz AND archived_at <= $3::timestamptz AND (archived_at < $3::timestamptz OR msg_id <= $4::bigint)
			ORDER BY archived_at LIMIT $1::int FOR UPDATE SKIP LOCKED))
		RETURNING archived_at)
		SELECT count(*), max(archived_at) FROM gone`
}

func nextArchived(p *Pass, row pgx.Row, limit int) (deleted int64, more bool, err error) {
	var last pgtype.Timestamptz
	if err := row.Scan(&deleted, &last); err != nil {
		return 0, false, err
	}
	if last.Valid {
		p.args[0] = last
	}
	return deleted, deleted >= int64(limit), nil
}
