package child

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestChildAnswersUntilItsInputEnds(t *testing.T) {
	t.Parallel()
	programs := map[string]Program{"double": func(_ context.Context, config json.RawMessage, serve func(Answer) error) error {
		return serve(func(_ context.Context, request json.RawMessage) (any, error) {
			var n int
			if err := json.Unmarshal(request, &n); err != nil {
				return nil, err
			}
			if n < 0 {
				return nil, errors.New("negative")
			}
			return 2 * n, nil
		})
	}}
	var out strings.Builder
	require.NoError(t, run([]string{"double", "{}"}, programs, strings.NewReader("1\n2\n"), &out))
	require.Equal(t, "ready\n2\n4\n", out.String())
	require.ErrorContains(t, run([]string{"double", "{}"}, programs, strings.NewReader("-1\n"), io.Discard), "negative")
	require.ErrorContains(t, run([]string{"triple", "{}"}, programs, strings.NewReader(""), io.Discard), "no such child")
}

// What runs when the suite ends, however it does, must not go on.
func TestEndOfTheInputEndsWhatRuns(t *testing.T) {
	t.Parallel()
	in, suite := io.Pipe()
	asked := make(chan struct{})
	go func() {
		_, _ = suite.Write([]byte("1\n"))
		<-asked
		_ = suite.Close()
	}()
	err := run([]string{"wait", "{}"}, map[string]Program{"wait": func(_ context.Context, _ json.RawMessage, serve func(Answer) error) error {
		return serve(func(ctx context.Context, _ json.RawMessage) (any, error) {
			close(asked)
			<-ctx.Done()
			return nil, ctx.Err()
		})
	}}, in, io.Discard)
	require.ErrorIs(t, err, context.Canceled)
}
