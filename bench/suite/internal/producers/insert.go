package producers

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// body is a message of 200 bytes.
func body(n int) string {
	head := fmt.Sprintf(`{"n":%d,"pad":"`, n)
	return head + strings.Repeat("x", 200-len(head)-2) + `"}`
}

// perStatement is how many rows an INSERT has, and what queue send takes by
// default.
const perStatement = 500

// insert sends messages by INSERTs of many rows, one after the other on one
// connection, and returns how many rows that were a second.
func insert(ctx context.Context, conn *pgx.Conn, queue string, rows int) (float64, error) {
	batch := make([]string, 0, perStatement)
	began := time.Now()
	for n := range rows {
		if batch = append(batch, body(n)); len(batch) < perStatement && n+1 < rows {
			continue
		}
		_, err := conn.Exec(ctx, `INSERT INTO pgmq.q_`+queue+` (vt, message) SELECT clock_timestamp(), b::jsonb FROM unnest($1::text[]) b`, batch)
		if err != nil {
			return 0, fmt.Errorf("insert: %w", err)
		}
		batch = batch[:0]
	}
	return float64(rows) / time.Since(began).Seconds(), nil
}
