package pgmq

import (
	"math"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/queues/pgmq/pgmqtest"
)

// arrayCases are arrays of each type, without elements, with one and with several.
func arrayCases() map[uint32][]array {
	zone := time.FixedZone("east", 3*3600)
	return map[uint32][]array{
		pgtype.Int8ArrayOID: {int8s(nil), int8s{}, int8s{7}, int8s{0, 1, -1, math.MaxInt64, math.MinInt64}},
		pgtype.Int4ArrayOID: {int4s(nil), int4s{}, int4s{7}, int4s{0, 1, -1, math.MaxInt32, math.MinInt32}},
		pgtype.TimestamptzArrayOID: {
			timestamptzs(nil), timestamptzs{}, timestamptzs{time.Unix(1_700_000_000, 123_456_789)},
			timestamptzs{
				time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1969, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
				time.Date(1, 1, 1, 0, 0, 0, 1000, time.UTC), time.Date(-43, 3, 15, 12, 0, 0, 0, time.UTC),
				time.Date(2026, 7, 1, 1, 2, 3, 4000, zone), time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC),
			},
		},
		pgtype.TextArrayOID: {
			texts(nil), texts{}, texts{[]byte("one")}, texts{nil}, texts{nil, []byte{}, []byte("NULL"), nil},
			texts{[]byte(`{"a": "b\"c", "d": [1, 2]}`), []byte(" x "), []byte("ä, \\ ☃"), []byte("{}")},
		},
	}
}

func TestArraysAreEncodedAsPgxDoes(t *testing.T) {
	t.Parallel()
	theirs, ours := pgtype.NewMap(), pgtype.NewMap()
	registerArrays(ours)
	for oid, cases := range arrayCases() {
		require.Equal(t, theirs.FormatCodeForOID(oid), ours.FormatCodeForOID(oid))
		for _, a := range cases {
			for _, format := range []int16{pgtype.BinaryFormatCode, pgtype.TextFormatCode} {
				for _, prefix := range [][]byte{nil, []byte("what comes before")} {
					want, err := theirs.Encode(oid, format, a.plain(), prefix)
					require.NoError(t, err)
					got, err := ours.Encode(oid, format, a, prefix)
					require.NoError(t, err)
					require.Equal(t, want, got, "%T %v, format %d", a, a, format)
				}
			}
			// As where statements are not prepared.
			want, err := theirs.Encode(0, pgtype.TextFormatCode, a.plain(), []byte{})
			require.NoError(t, err)
			got, err := ours.Encode(0, pgtype.TextFormatCode, a, []byte{})
			require.NoError(t, err)
			require.Equal(t, want, got, "%T %v", a, a)
		}
	}
}

func TestArraysLeaveOthersToPgx(t *testing.T) {
	t.Parallel()
	theirs, ours := pgtype.NewMap(), pgtype.NewMap()
	registerArrays(ours)
	for oid, value := range map[uint32]any{
		pgtype.Int8ArrayOID: []int64{1, 2}, pgtype.TextArrayOID: []string{"a", ""}, pgtype.Int4ArrayOID: []int16{3},
	} {
		want, err := theirs.Encode(oid, pgtype.BinaryFormatCode, value, nil)
		require.NoError(t, err)
		got, err := ours.Encode(oid, pgtype.BinaryFormatCode, value, nil)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	var into []int64
	require.NoError(t, ours.Scan(pgtype.Int8ArrayOID, pgtype.TextFormatCode, []byte("{4,5}"), &into))
	require.Equal(t, []int64{4, 5}, into)
}

func TestServerReadsArrays(t *testing.T) {
	t.Parallel()
	db, err := pgx.Connect(t.Context(), pgmqtest.New(t, pgmqtest.V1_10))
	require.NoError(t, err)
	defer func() { _ = db.Close(t.Context()) }()
	registerArrays(db.TypeMap())
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
		pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		for _, cases := range arrayCases() {
			for _, a := range cases {
				type_, _ := db.TypeMap().TypeForValue(a)
				name := type_.Name[1:] + "[]"
				var same bool
				err := db.QueryRow(t.Context(), `SELECT $1::`+name+` IS NOT DISTINCT FROM $2::`+name, mode, a, a.plain()).Scan(&same)
				require.NoError(t, err, "%s, %v %v", mode, name, a)
				require.True(t, same, "%s, %v %v", mode, name, a)
			}
		}
	}
}
