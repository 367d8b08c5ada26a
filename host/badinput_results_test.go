package host_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// rawInput is what the raw plugin is asked for. encoding/json writes bytes in
// base64, so that anything goes through jsonb.
type rawInput struct {
	Output []byte    `json:"output,omitempty"`
	Nest   int       `json:"nest,omitempty"`
	Emits  []rawEmit `json:"emits,omitempty"`
	Fail   []byte    `json:"fail,omitempty"`
	Type   []byte    `json:"type,omitempty"`
}

type rawEmit struct {
	Queue   []byte `json:"queue"`
	Body    []byte `json:"body"`
	Headers []byte `json:"headers,omitempty"`
	DelayMS int64  `json:"delay_ms,omitempty"`
}

func output(text string) rawInput { return rawInput{Output: []byte(text)} }

func emitTo(queue, body, headers string) rawInput {
	return rawInput{Emits: []rawEmit{{Queue: []byte(queue), Body: []byte(body), Headers: []byte(headers)}}}
}

func TestResultsThatTheDatabaseRefuses(t *testing.T) {
	t.Parallel()
	tr := newTrial(startConfigured(t, rawConf(t).with(conf{
		"namespace:raw.retry.max_attempts": "2", "namespace:raw.retry.initial": `"1ms"`, "namespace:raw.retry.max": `"1ms"`,
	}), "raw_queue", "raw_dead", "raw_next"), "raw")
	refused := func(says string) verdict { return verdict{"settlement_refused", says} }
	spent := func(says string) verdict { return verdict{"attempts_spent", says} }
	for _, c := range []struct {
		in   rawInput
		want verdict
	}{
		{output(``), verdict{}},
		{output(`{"n": 1}`), verdict{}},
		{output(` [1, {"a": "]}"}] `), verdict{}},
		{output("\"\U0001F600\\ud83d\\ude00\""), verdict{}},
		{output(`{"x": "\u0000"}`), refused("22P05")},
		{output(`"\ud800"`), refused("22P02")},
		{output(`"\udc00\ud800"`), refused("22P02")},
		{output(`{"x": 1e400000}`), refused("22003")},
		{output(strings.Repeat("9", 200000)), refused("22003")},
		{output("\"\xff\""), refused("22021")},
		{output("\"a\x00b\""), refused("22021")},
		{output(`NaN`), refused("22P02")},
		{output(`{1: 2}`), refused("22P02")},
		{output(`1 2`), refused("22P02")},
		{rawInput{Output: []byte(`1`), Nest: 1000}, verdict{}},
		{rawInput{Output: []byte(`1`), Nest: 20000}, refused("54001")},
		{rawInput{Output: []byte(`1`), Nest: 5_000_000}, refused("54001")},
		{output(`{"x": "`), spent("not a JSON value")},
		{output(`{"x": [1}}`), refused("22P02")},
		{output(`1, "status": "failed"`), spent("not a JSON value")},
		{output(`1}, {"a": 1`), spent("not a JSON value")},
		{output(`}`), spent("not a JSON value")},

		{rawInput{Fail: []byte("no\x00luck"), Type: []byte("a\x00type")}, verdict{"permanent", "no\uFFFDluck"}},
		{rawInput{Fail: []byte(strings.Repeat("f", 1<<20)), Type: []byte(strings.Repeat("t", 1<<20))}, verdict{"permanent", strings.Repeat("f", 1000)}},

		{emitTo("raw_next", `{"good": true}`, `{"trace": "t"}`), verdict{}},
		{emitTo("RAW_next", `{"good": true}`, ``), verdict{}},
		{emitTo("raw_next", `{"stephost": "is mine"}`, `{"stephost": {"failures": "x"}}`), verdict{}},
		{emitTo("raw_next", `[1`, ``), refused("22P02")},
		{emitTo("raw_next", `"\u0000"`, ``), refused("22P05")},
		{emitTo("raw_next", `{}`, `{`), refused("22P02")},
		{emitTo("raw_next", `{}`, `[1]`), spent(`emit to queue "raw_next": the message's headers are an array: they must be a JSON object`)},
		{rawInput{Emits: []rawEmit{{Queue: []byte("raw_next"), Body: []byte(`{"good": true}`), DelayMS: -1 << 63}}}, verdict{}},
		{emitTo("", `{}`, ``), spent("neither a queue nor a namespace")},
		{emitTo("nobody", `{}`, ``), refused("create it with `stephost queue create nobody`")},
		{emitTo("raw\x00next", `{}`, ``), refused("does not exist, and `stephost queue create` makes none")},
		{emitTo("raw next", `{}`, ``), refused("does not exist, and `stephost queue create` makes none")},
		{emitTo(`raw_next"; DROP TABLE pgmq.q_results; --`, `{}`, ``), refused("does not exist, and `stephost queue create` makes none")},
		{emitTo(`raw_next'; DROP TABLE pgmq.q_results; --`, `{}`, ``), refused("does not exist, and `stephost queue create` makes none")},
		{emitTo("pgmq.q_raw_next", `{}`, ``), refused("does not exist, and `stephost queue create` makes none")},
		{emitTo("räw", `{}`, ``), refused("does not exist, and `stephost queue create` makes none")},
		{emitTo(strings.Repeat("q", 47), `{}`, ``), refused("create it with")},
		{emitTo(strings.Repeat("q", 48), `{}`, ``), refused("does not exist, and `stephost queue create` makes none")},
		{emitTo(strings.Repeat("q", 1<<20), `{}`, ``), refused("does not exist, and `stephost queue create` makes none")},
	} {
		body := object(t, c.in)
		tr.put(body[:min(len(body), 200)], body, `NULL`, c.want)
	}
	tr.ends()
	require.Equal(t, 3, tr.count(`SELECT count(*) FROM pgmq.q_raw_next WHERE message->'good' = 'true' AND vt <= clock_timestamp()`))
	require.Equal(t, 4, tr.count(`SELECT count(*) FROM pgmq.q_raw_next`), "nothing goes out with a result that is refused")
	require.Zero(t, tr.count(`SELECT count(*) FROM pgmq.q_results WHERE length(message #>> '{error,error_type}') > 300 OR length(message #>> '{error,message}') > 20000`))
	require.NotContains(t, tr.logs.String(), strings.Repeat("q", 10000), "the log has no giants in it")
}
