package many

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/stephost/stephost/bench/suite/internal/stamps"
	"github.com/stephost/stephost/plugin/sdk"
)

// PluginCommand is the first argument that makes this program the plugin; the
// second is the file of the stamps.
const PluginCommand = "sleeping-plugin"

// PluginMain serves two handlers: "stamp", the default, marks the start of each
// step; "sleep" takes as long as the message says. It returns the exit code.
func PluginMain(args []string) int {
	if len(args) != 1 {
		fmt.Fprintln(os.Stderr, "the sleeping plugin needs the file of the stamps")
		return 2
	}
	marks, err := stamps.Open(args[0])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	sdk.Main(
		sdk.HandleRaw("stamp", func(_ context.Context, body []byte) ([]byte, error) {
			now := stamps.Now()
			var m stamps.Message
			if err := json.Unmarshal(body, &m); err != nil {
				return nil, sdk.Permanent(err)
			}
			marks.Mark(m.N, now)
			return nil, nil
		}, sdk.Default()),
		sdk.HandleRaw("sleep", func(ctx context.Context, body []byte) ([]byte, error) {
			var m struct {
				MS int `json:"ms"`
			}
			if err := json.Unmarshal(body, &m); err != nil {
				return nil, sdk.Permanent(err)
			}
			timer := time.NewTimer(time.Duration(m.MS) * time.Millisecond)
			defer timer.Stop()
			select {
			case <-timer.C:
				return nil, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}),
	)
	return 0
}
