package checkup

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestACheckThatCannotRunSaysWhyAndTheOthersGoOn(t *testing.T) {
	t.Parallel()
	found := Run(t.Context(), time.Millisecond, []Check{
		{"fails", func(context.Context) ([]Finding, error) { return nil, errors.New("no right to look") }},
		{"hangs", func(ctx context.Context) ([]Finding, error) {
			<-ctx.Done()
			return []Finding{{Severity: Warning, Seen: "so far"}}, ctx.Err()
		}},
		{"works", func(context.Context) ([]Finding, error) { return Fine("all %d", 7), nil }},
	})
	require.Equal(t, []Finding{
		{Check: "fails", Severity: Skipped, Seen: "no right to look"},
		{Check: "hangs", Severity: Warning, Seen: "so far"},
		{Check: "hangs", Severity: Skipped, Seen: "it was not done within 1ms"},
		{Check: "works", Severity: OK, Seen: "all 7"},
	}, found)
}

func TestWorst(t *testing.T) {
	t.Parallel()
	require.Equal(t, OK, Worst(nil))
	var found []Finding
	for _, s := range []Severity{OK, Skipped, Warning, Error} {
		found = append([]Finding{{Severity: s}}, found...)
		require.Equal(t, s, Worst(found))
	}
}
