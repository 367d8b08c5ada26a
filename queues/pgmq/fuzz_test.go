package pgmq

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/internal/fuzzcorpus"
	"github.com/stephost/stephost/queues"
)

// FuzzNotification: anyone may notify. Whatever is said on a channel of either
// family becomes events within bounds, about queues that were asked for, or a
// short text that it was not understood.
func FuzzNotification(f *testing.F) {
	names := []string{"orders_queue", "Mixed", "worker_payments_queue"}
	for _, payload := range []string{
		"", "{}", "null", "[]", "x",
		`{"event_type":"message_ready","msg_id":7,"queue_name":"orders_queue"}`,
		`{"event_type":"message_with_payload","msg_id":-7,"queue_name":"MIXED","message":{"a":[1]},"delay_seconds":1.5}`,
		`{"event_type":"batch_ready","msg_ids":[1,2],"message_count":99999999999,"queue_name":"orders_queue"}`,
		`{"event_type":"message_ready","queue_name":"orders_queue","delay_seconds":1e300}`,
		`{"event_type":"queue_created","queue_name":"x"}`,
		`{"event_type":"x","queue_name":"orders_queue"}`,
		"\xff\xfe",
	} {
		f.Add("pgmq_message_ready", payload)
		f.Add("pgmq_message_ready.orders", payload)
		f.Add("pgmq.q_orders_queue.INSERT", payload)
		f.Add("pgmq.q_Mixed.INSERT", payload)
		f.Add("pgmq_queue_created", payload)
	}
	f.Fuzz(func(t *testing.T, channel, payload string) {
		r := newRouter(names, true, true, namespaceOf)
		events := r.events(&pgconn.Notification{PID: 1, Channel: channel, Payload: payload})
		require.LessOrEqual(t, len(events), len(names))
		for _, event := range events {
			require.Positive(t, event.Count)
			require.GreaterOrEqual(t, event.MessageID, int64(0))
			require.GreaterOrEqual(t, event.Delay, time.Duration(0))
			require.LessOrEqual(t, event.Delay, maxDelay)
			require.Equal(t, queues.SourceNotification, event.Source)
			switch event.Kind {
			case queues.EventStepReady:
				require.Contains(t, names, event.Queue)
			case queues.EventUnknown:
				require.LessOrEqual(t, len(event.Payload), maxPayload)
				require.True(t, utf8.ValidString(event.Payload))
			case queues.EventQueueCreated:
			default:
				require.Fail(t, "an event of no kind")
			}
		}
		// tasker says everything twice.
		if again := r.events(&pgconn.Notification{PID: 1, Channel: channel + ".again", Payload: payload}); !strings.HasPrefix(channel, insertPrefix) && channel != "" {
			require.Empty(t, again)
		}
		var b backlog
		for _, event := range events {
			b.add(event)
		}
		for range events {
			_, ok := b.next()
			require.True(t, ok)
		}
	})
}

// FuzzRecord: headers are anyone's to write. What is read from them is within
// bounds, and what is written from that is JSON that reads as the same.
func FuzzRecord(f *testing.F) {
	for _, seed := range recordSeeds() {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := decodeRecord(data)
		for _, count := range []int{r.Failures, r.Crashes, r.Suspicion, r.Replays, int(r.Accounted)} {
			require.GreaterOrEqual(t, count, 0)
		}
		for _, count := range []int{r.Failures, r.Crashes, r.Suspicion, r.Replays} {
			require.LessOrEqual(t, count, maxCount)
		}
		r = r.AddError(queues.ErrorEntry{Message: string(data), Stack: string(data)})
		text, err := encodeRecord(r)
		require.NoError(t, err)
		require.True(t, json.Valid([]byte(text)))
		again, err := encodeRecord(decodeRecord([]byte(text)))
		require.NoError(t, err)
		require.Equal(t, text, again, "a record that was written once does not change any more")
		require.LessOrEqual(t, claimedRecord(data, 3).Accounted, queues.Epoch(2))
	})
}

func recordSeeds() []string {
	return []string{
		``, `null`, `7`, `[]`, `{}`, `{"v":1,"failures":2}`, `{"v":99,"failures":2}`, `{"v":1,"failures":-2,"crashes":9e99}`, `{"v":1,"failures":-2,"crashes":99999999999,"replays":-1}`,
		`{"v":1,"accounted":-1,"errors":[{"at":"2026-01-02T03:04:05Z","attempt":1,"message":"m","stack":"s"}]}`,
		`{"v":1,"errors":[{"at":"9999-12-31T23:59:59.999999999Z"}],"dead":{"reason":"permanent","at":"0001-01-01T00:00:00Z"}}`,
		`{"v":1,"origin":{"queue":"q","msg_id":7,"enqueued_at":"2026-01-02T03:04:05.123456+02:00"}}`,
		`{"v":1,"headers":[1,{"a":1e400}]}`, `{"v":1,"headers":"\ud800"}`, `{"v":1,"headers":"\u0000"}`, `{"V":1,"FAILURES":3}`,
		`{"v":1,"dead":{"error":"\ud800","step":"\u0000"}}`, "{\"v\":1,\"dead\":{\"error\":\"\xff\"}}",
	}
}

// What stands in a message's headers is what PostgreSQL has taken for jsonb.
// Whatever that was, it takes what becomes of it, and gives back the same.
func TestPostgreSQLTakesEveryRecord(t *testing.T) {
	t.Parallel()
	b := setup(t, ours)
	taken := 0
	for _, input := range append(recordSeeds(), fuzzcorpus.Inputs(t, "FuzzRecord")...) {
		var stored []byte
		if err := b.db.QueryRow(t.Context(), `SELECT $1::text::jsonb::text`, input).Scan(&stored); err != nil {
			continue // no headers that there can be
		}
		taken++
		r := decodeRecord(stored).AddError(queues.ErrorEntry{Message: input, Stack: input})
		text, err := encodeRecord(r)
		require.NoError(t, err)
		var back []byte
		require.NoError(t, b.db.QueryRow(t.Context(), `SELECT (`+withRecord("$1::text::jsonb", "$2::text::jsonb")+` -> 'stephost')::text`, stored, text).Scan(&back), "%q", input)
		want, got := decodeRecord([]byte(text)), decodeRecord(back)
		want.OriginalHeaders, got.OriginalHeaders = nil, nil
		require.Equal(t, want, got, "%q", input)
	}
	require.Greater(t, taken, 10)
}
