package host_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Headers are anyone's to write, and so is our own key in them: an old host, a
// newer one, a tool that copies messages, or somebody who tries.
func TestHeadersOfAnyKind(t *testing.T) {
	t.Parallel()
	tr := newTrial(startConfigured(t, conf{
		"namespace.retry.max_attempts": "2", "namespace.retry.initial": `"1ms"`, "namespace.retry.max": `"1ms"`,
		"namespace.retry.max_deliveries": "3",
	}), "a")
	var (
		good    = object(t, map[string]string{"log": tr.path("good")})
		failing = object(t, map[string]string{"log": tr.path("failing"), "fail": "no luck"})
		spent   = verdict{"attempts_spent", "no luck"}
	)
	// With each of these a message runs, is retried and is dead-lettered as any
	// other, and keeps what is not ours.
	for _, headers := range []string{
		`NULL`, `'null'`, `'[]'`, `'[1, {"a": null}]'`, `'"text"'`, `'7'`, `'true'`, `'{}'`, `'{"trace": "t"}'`,
		`'{"stephost": null}'`, `'{"stephost": 3}'`, `'{"stephost": "x"}'`, `'{"stephost": []}'`, `'{"stephost": {}, "trace": "t"}'`,
		`'{"stephost": {"v": 99, "failures": 7}}'`, `'{"stephost": {"v": "one"}}'`, `'{"stephost": {"v": -1}}'`, `'{"stephost": {"v": 1e300}}'`,
		`'{"stephost": {"v": 1, "failures": -9}}'`, `'{"stephost": {"v": 1, "failures": 1.5}}'`, `'{"stephost": {"v": 1, "failures": "many"}}'`,
		`'{"stephost": {"v": 1, "failures": 99999999999999999999}}'`, `'{"stephost": {"v": 1, "failures": {"n": 1}}}'`,
		`'{"stephost": {"v": 1, "crashes": -1, "suspicion": -5, "replays": -7}}'`,
		`'{"stephost": {"v": 1, "suspicion": 9223372036854775807}}'`,
		`'{"stephost": {"v": 1, "accounted": -2147483648}}'`, `'{"stephost": {"v": 1, "accounted": -50}}'`,
		`'{"stephost": {"v": 1, "accounted": 2147483647}}'`, `'{"stephost": {"v": 1, "accounted": 2147483648}}'`,
		`'{"stephost": {"v": 1, "errors": 5}}'`, `'{"stephost": {"v": 1, "errors": [null, {}, {"at": "never"}]}}'`,
		`'{"stephost": {"v": 1, "errors": [{"at": "2020-01-01T00:00:00Z", "message": "a"}, {"attempt": -3}]}}'`,
		`jsonb_build_object('stephost', jsonb_build_object('v', 1, 'errors', (SELECT jsonb_agg(jsonb_build_object('message', repeat('x', 100))) FROM generate_series(1, 3000))))`,
		`'{"stephost": {"v": 1, "origin": 5}}'`, `'{"stephost": {"v": 1, "origin": {"msg_id": "x"}}}'`,
		`'{"stephost": {"v": 1, "origin": {"queue": "q", "msg_id": 1, "enqueued_at": "not a time"}}}'`,
		`'{"stephost": {"v": 1, "dead": {"reason": 5}}}'`, `'{"stephost": {"v": 1, "dead": {"reason": "permanent", "error": "a lie"}}}'`,
		`'{"stephost": {"v": 1, "headers": {"a": [1]}}}'`, `'{"stephost": {"v": 1, "unknown": {"deep": [[[]]]}}, "trace": "t"}'`,
		fmt.Sprintf(`'{"stephost": %s%s}'`, strings.Repeat("[", 1000), strings.Repeat("]", 1000)),
		`jsonb_build_object('trace', repeat('t', 5000000))`, `to_jsonb(repeat('t', 200000))`,
	} {
		tr.put("good, with "+headers[:min(len(headers), 100)], good, headers, verdict{})
		tr.put("failing, with "+headers[:min(len(headers), 100)], failing, headers, spent)
	}
	runs := len(tr.want) / 2
	// These were believable, and are what they say.
	tr.put("failed once before", failing, `'{"stephost": {"v": 1, "failures": 1}}'`, spent)
	tr.put("failed as often as can be", failing, `'{"stephost": {"v": 1, "failures": 9223372036854775807}}'`, spent)
	// Nobody looks into these, so nobody could count.
	for _, headers := range []string{
		`(SELECT jsonb_build_object('trace', string_agg(md5(n::text), '')) FROM generate_series(1, 50000) n)`,
		`jsonb_build_object('stephost', jsonb_build_object('v', 1, 'errors', jsonb_build_array(jsonb_build_object('message', repeat('x', 5000000)))))`,
		`jsonb_build_array(repeat('x', 5000000))`,
	} {
		tr.put("failing, with "+headers, failing, headers, verdict{"headers_too_large", "put what is large into the body"})
	}
	tr.ends()
	require.Len(t, tr.runs("good"), runs)
	require.Len(t, tr.runs("failing"), 2*runs+2)
	require.Zero(t, tr.count(`SELECT count(*) FROM pgmq.q_a_dead WHERE (headers #>> '{stephost,failures}')::numeric NOT IN (1, 2)
		AND NOT headers #>> '{stephost,failures}' = '1073741825'`))
	require.Zero(t, tr.count(`SELECT count(*) FROM pgmq.q_a_dead WHERE jsonb_array_length(headers #> '{stephost,errors}') > 5`))
	require.Equal(t, 3, tr.count(`SELECT count(*) FROM pgmq.q_a_dead WHERE headers->>'trace' = 't'`), "what is not ours is kept")
	require.Equal(t, 3, tr.count(`SELECT count(*) FROM pgmq.q_a_dead WHERE headers #> '{stephost,headers}' IN ('[1, {"a": null}]', '"text"', '7')`))
	require.Equal(t, 1, tr.count(`SELECT count(*) FROM pgmq.q_a_dead WHERE length(headers->>'trace') = 5000000`))
}
