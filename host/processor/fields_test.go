package processor

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseFields(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		body string
		want stepFields
		ok   bool
	}{
		"empty object":        {`{}`, stepFields{}, true},
		"step":                {`{"step": "charge"}`, stepFields{step: "charge"}, true},
		"after nested values": {`{"a": {"step": "no", "b": [1, {"c": "]}"}]}, "step": "yes"}`, stepFields{step: "yes"}, true},
		"long texts": {
			`{"a": "` + strings.Repeat("t", 2*farthest) + `", "b": "` + strings.Repeat("t", nearby) + `\"\\", "c": "` + strings.Repeat(`\\`, nearby) + `", "step": "x"}`,
			stepFields{step: "x"}, true,
		},
		"a long text that is cut": {`{"a": "` + strings.Repeat("t", nearby-1) + `\`, stepFields{}, false},
		"escapes":                 {`{"\\": "\\", "\"": "\"\\\"", "step": "a\"b\u00e4"}`, stepFields{step: `a"bä`}, true},
		"not a string":            {`{"step": 7, "task_uuid": null}`, stepFields{notAName: "a number"}, true},
		"null":                    {`{"step": null, "task_uuid": 7}`, stepFields{}, true},
		"a giant":                 {`{"task_uuid": "` + strings.Repeat("t", maxID) + `"}`, stepFields{}, true},
		"correlation": {
			`{"task_uuid": "t", "step_uuid": "s", "correlation_id": "c", "step": "x"}`,
			stepFields{step: "x", taskUUID: "t", stepUUID: "s", correlationID: "c"}, true,
		},
		"array":       {`[1, 2]`, stepFields{}, false},
		"scalar":      {`"step"`, stepFields{}, false},
		"only null":   {`null`, stepFields{}, false},
		"empty":       {``, stepFields{}, false},
		"cut":         {`{"step": "x"`, stepFields{step: "x"}, false},
		"cut in text": {`{"step": "x`, stepFields{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ok := parseFields([]byte(tc.body), "step")
			require.Equal(t, tc.ok, ok)
			require.Equal(t, tc.want, got)
		})
	}
}

func TestParseFieldsWhenTheStepKeyIsACorrelationField(t *testing.T) {
	t.Parallel()
	got, ok := parseFields([]byte(`{"correlation_id": "c"}`), "correlation_id")
	require.True(t, ok)
	require.Equal(t, stepFields{step: "c", correlationID: "c"}, got)
}

func BenchmarkParseFields(b *testing.B) {
	body := []byte(`{"step": "charge", "order_id": "A-1", "items": [{"sku": "x", "n": 1}, {"sku": "y", "n": 2}], "correlation_id": "c"}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := parseFields(body, "step"); !ok {
			b.Fatal("not an object")
		}
	}
}
