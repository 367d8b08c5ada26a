package sdk_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/plugin/protocol"
	"github.com/stephost/stephost/plugin/sdk"
)

func TestDebuggedStepHasNoTimeout(t *testing.T) {
	t.Parallel()
	const own = time.Millisecond
	for _, debugged := range []bool{false, true} {
		h := startHost(t, sdk.HandleRaw("wait", func(ctx context.Context, _ []byte) ([]byte, error) {
			select {
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			case <-time.After(100 * own):
				return nil, nil
			}
		}, sdk.Timeout(own)))
		if debugged {
			h.server.Debugged()
		}
		require.Equal(t, debugged, h.callStep("wait", "{}").GetSuccess() != nil)
	}
}

// TestRefusedAttachment runs a plugin against hosts that do not want it.
func TestRefusedAttachment(t *testing.T) {
	t.Parallel()
	for status, said := range map[int]string{
		http.StatusUnauthorized: "set STEPHOST_ADMIN_TOKEN",
		http.StatusForbidden:    "not here",
		http.StatusNotFound:     "not here",
	} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodPost || r.URL.Path != "/plugins/orders/attach" {
					status = http.StatusTeapot
				}
				w.WriteHeader(status)
				_, _ = w.Write([]byte(`{"error": "not here"}`))
			}))
			defer server.Close()
			cmd := selfAsPlugin(t)
			cmd.Env = append(cmd.Env, protocol.AttachKey+"=orders@"+strings.TrimPrefix(server.URL, "http://"))
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit, "%s", out)
			require.Equal(t, 1, exit.ExitCode())
			require.Contains(t, string(out), said)
		})
	}
}
