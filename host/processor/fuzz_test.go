package processor

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/stephost/stephost/internal/devpg/devpgtest"
	"github.com/stephost/stephost/internal/fuzzcorpus"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq"
	"github.com/stephost/stephost/queues/pgmq/schema"
)

func bodySeeds() []string {
	return []string{
		`{"step":"a"}`, `{"a":[{}],"step":"\u0041"}`, `[]`, `{"step"`, `{"a":"\\"}`, `{"a":1,"step":{}}`, `"step"`, `null`, ` { "step" : "x" } `,
		`{"step":"\ud83d\ude00","task_uuid":"\u0000","correlation_id":"\ud800"}`, `{"step":"a","step":"b"}`, `{"\u0073tep":"a"}`, `{"step":1e400000}`,
		`{"step_uuid":"\"}{[,","task_uuid":"\\"}`, "{\"step\":\"\xff\"}", `{"":"","step":""}`, strings.Repeat(`{"a":[`, 40) + strings.Repeat(`]}`, 40),
	}
}

// FuzzParseFields checks the scanner against encoding/json on valid objects,
// and that it never panics on anything.
func FuzzParseFields(f *testing.F) {
	for _, seed := range bodySeeds() {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, ok := parseFields(body, "step")
		require.NotEmpty(t, kindOf(body))
		if !json.Valid(body) {
			return
		}
		require.True(t, oneValue(body))
		require.False(t, oneValue(append(append(body[:len(body):len(body)], ','), body...)), "two values")
		var members map[string]json.RawMessage
		object := json.Unmarshal(body, &members) == nil && members != nil
		require.Equal(t, object, ok, "%s", body)
		if !object {
			return
		}
		require.Equal(t, "an object", kindOf(body))
		// A repeated member is out of reach of jsonb, and encoding/json takes the
		// last one as the scanner does.
		if raw, present := members["step"]; present && !escapedKey(body) && len(raw) > 0 && raw[0] == '"' && utf8.Valid(raw) {
			var want string
			require.NoError(t, json.Unmarshal(raw, &want))
			require.Equal(t, want, got.step)
		}
	})
}

// escapedKey tells whether a name may be written with escapes, which jsonb
// never does with one that has none of its own.
func escapedKey(body []byte) bool { return strings.Contains(string(body), `\u00`) }

// FuzzPluginResult: a plugin may send any bytes for a result. Whatever it is
// taken for, the message has one end, and what is sent on its behalf is JSON.
func FuzzPluginResult(f *testing.F) {
	for _, res := range resultSeeds() {
		data, err := proto.Marshal(res)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		res := &pluginv1.Result{}
		if proto.Unmarshal(data, res) != nil {
			return
		}
		d, e := testDecider(), testEntry()
		d.result(e, res, e.claimCall)
		require.NotEmpty(t, e.outcome)
		switch action := e.action.(type) {
		case queues.Complete:
			require.Equal(t, OutcomeSucceeded, e.outcome)
			requireEnvelope(t, action.Send[len(action.Send)-1], json.Valid(res.GetSuccess().GetOutput()))
			for _, emit := range action.Send {
				require.NotEmpty(t, emit.Queue)
				require.GreaterOrEqual(t, emit.Delay, time.Duration(0))
				require.LessOrEqual(t, emit.Delay, longestDelay)
			}
			// The database may refuse it for the body's sake; then the message
			// still has an end.
			d.refused(e, fmt.Errorf("no"), e.claimCall)
			require.IsNotType(t, queues.Complete{}, e.action)
		case queues.Retry:
			require.GreaterOrEqual(t, action.Delay, time.Duration(0))
			require.LessOrEqual(t, action.Delay, longestDelay)
			require.LessOrEqual(t, action.Record.Failures, 1)
		case queues.DeadLetter:
			require.Len(t, action.Send, 1)
			requireEnvelope(t, action.Send[0], true)
			require.NotEmpty(t, action.Record.Dead.Reason)
		case queues.Release:
			require.Zero(t, action.Record.Failures, "what was not accepted costs nothing")
		default:
			require.Failf(t, "no end", "%T", action)
		}
	})
}

func requireEnvelope(t *testing.T, out queues.Outgoing, valid bool) {
	t.Helper()
	require.Equal(t, "results", out.Queue)
	require.Equal(t, valid || json.Valid(out.Body), json.Valid(out.Body), "%s", out.Body)
}

func resultSeeds() []*pluginv1.Result {
	seeds := []*pluginv1.Result{
		{}, {DurationUs: math.MaxInt64, StartedAtUs: math.MinInt64},
		success(""), success(`{"a":1}`), success(`1,2`), success(`}`), success("{\"a\":\"\xff\"}"),
		success(`1e400000`), success(`"\u0000"`), success(`"\ud800"`), success(`{"a":1} {"b":2}`), success(strings.Repeat("[", 200) + strings.Repeat("]", 200)),
		success(`null`, &pluginv1.Emit{}), success(`null`, &pluginv1.Emit{Target: &pluginv1.Emit_Namespace{Namespace: "nowhere"}}),
		success(`null`, &pluginv1.Emit{Target: &pluginv1.Emit_Namespace{Namespace: "payments"}, Body: []byte(`{"a":1}`), Headers: []byte(`{"h":1}`), DelayMs: math.MaxInt64}),
		success(`null`, &pluginv1.Emit{Target: &pluginv1.Emit_Queue{Queue: "results"}, Body: []byte(`{`), Headers: []byte(`[1]`), DelayMs: -1}),
		failed(&pluginv1.Failure{}), failed(&pluginv1.Failure{Type: "\x00", Message: "\x00\xc3", Stack: strings.Repeat("s", 100), Verdict: pluginv1.FailureVerdict_FAILURE_VERDICT_PERMANENT}),
		failed(&pluginv1.Failure{Message: "later", Verdict: pluginv1.FailureVerdict_FAILURE_VERDICT_RETRY_AFTER, RetryAfterMs: math.MaxInt64}),
		failed(&pluginv1.Failure{Message: "odd", Verdict: 99, RetryAfterMs: -5}),
		{Outcome: &pluginv1.Result_Snooze{Snooze: &pluginv1.Snooze{DelayMs: math.MaxInt64}}},
		{Outcome: &pluginv1.Result_NotAccepted{NotAccepted: &pluginv1.NotAccepted{Reason: "\x00"}}},
	}
	// protobuf itself refuses text that is no UTF-8.
	for _, seed := range seeds {
		if fail := seed.GetFailure(); fail != nil {
			fail.Message = strings.ToValidUTF8(fail.GetMessage(), "")
		}
	}
	return seeds
}

// database is a broker with the queues of testDecider and a connection.
func database(t *testing.T) (*pgmq.Broker, *pgx.Conn) {
	t.Helper()
	dsn := devpgtest.New(t, devpgtest.Template("pgmq", func(ctx context.Context, conn *pgx.Conn) error {
		_, err := schema.Install(ctx, conn)
		return err
	}))
	broker, err := pgmq.Open(t.Context(), pgmq.Options{DSN: dsn})
	require.NoError(t, err)
	t.Cleanup(broker.Close)
	for _, queue := range []string{"orders_queue", "orders_dead", "payments_queue", "results"} {
		_, err := broker.CreateQueue(t.Context(), queue)
		require.NoError(t, err)
	}
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return broker, conn
}

// Of every body that PostgreSQL takes, the host reads what PostgreSQL reads.
func TestPostgreSQLAgreesAboutBodies(t *testing.T) {
	t.Parallel()
	_, conn := database(t)
	taken := 0
	for _, input := range append(bodySeeds(), fuzzcorpus.Inputs(t, "FuzzParseFields")...) {
		var (
			body     []byte
			object   bool
			step, id *string
		)
		err := conn.QueryRow(t.Context(), `SELECT b::text, jsonb_typeof(b) = 'object',
			CASE WHEN jsonb_typeof(b -> 'step') = 'string' THEN b ->> 'step' END, CASE WHEN jsonb_typeof(b -> 'task_uuid') = 'string' THEN b ->> 'task_uuid' END
			FROM (SELECT $1::text::jsonb AS b) x`, input).Scan(&body, &object, &step, &id)
		if err != nil {
			continue // no body that there can be
		}
		taken++
		got, ok := parseFields(body, "step")
		require.Equal(t, object, ok, "%s", body)
		if !object {
			continue
		}
		require.Equal(t, orEmpty(step), got.step, "%s", body)
		require.Equal(t, orEmpty(id), got.taskUUID, "%s", body)
		e := testEntry()
		e.fields, e.step = got, ""
		res := result{entry: e, status: statusFailed, errText: got.step, errType: got.taskUUID}
		var back string
		require.NoError(t, conn.QueryRow(t.Context(), `SELECT $1::text::jsonb ->> 'step'`, string(res.encode("orders", "w", time.Now()))).Scan(&step))
		if step != nil {
			back = *step
		}
		require.Equal(t, got.step, back, "the result's envelope says the same")
	}
	require.Greater(t, taken, 10)
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// Whatever a plugin answers, PostgreSQL takes what becomes of it or refuses it
// for its data's sake, and then it takes what becomes of that.
func TestPostgreSQLSettlesWhateverAPluginAnswers(t *testing.T) {
	t.Parallel()
	broker, _ := database(t)
	inputs := fuzzcorpus.Inputs(t, "FuzzPluginResult")
	for _, seed := range resultSeeds() {
		data, err := proto.Marshal(seed)
		require.NoError(t, err)
		inputs = append(inputs, string(data))
	}
	d := testDecider()
	refused := 0
	for _, input := range inputs {
		res := &pluginv1.Result{}
		if proto.Unmarshal([]byte(input), res) != nil {
			continue
		}
		_, err := broker.Send(t.Context(), "orders_queue", []queues.Outgoing{{Body: []byte(`{"step":"charge"}`)}})
		require.NoError(t, err)
		claimed, err := broker.Claim(t.Context(), queues.ClaimRequest{Queue: "orders_queue", Limit: 1, Lease: time.Minute})
		require.NoError(t, err)
		e := &entry{lease: claimed[0].Lease, claimedAt: claimed[0].ClaimedAt, claimCall: time.Now(), record: claimed[0].Record, step: "charge"}
		d.result(e, res, time.Now())
		settle := func() queues.SettleResult {
			return broker.Settle(t.Context(), "orders_queue", []queues.Settlement{{Lease: e.lease, Action: e.action}})[0]
		}
		got := settle()
		if got.Status == queues.Refused {
			refused++
			d.refused(e, got.Err, time.Now())
			got = settle()
		}
		require.Equal(t, queues.Settled, got.Status, "%q: %v", input, got.Err)
		_, err = broker.Purge(t.Context(), "orders_queue")
		require.NoError(t, err)
	}
	require.Positive(t, refused, "there are some that PostgreSQL refuses")
}
