package stamps

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/stephost/stephost/plugin/sdk"
)

// PluginCommand is the first argument that makes this program the plugin; the
// second is the file.
const PluginCommand = "stamping-plugin"

// Message is the body of a message that is stamped: N is its place.
type Message struct {
	N int `json:"n"`
}

// PluginMain serves a handler that marks the start of each step and does nothing
// else. It returns the exit code.
func PluginMain(args []string) int {
	if len(args) != 1 {
		fmt.Fprintln(os.Stderr, "the stamping plugin needs the file of the stamps")
		return 2
	}
	marks, err := Open(args[0])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	sdk.Main(sdk.HandleRaw("stamp", func(_ context.Context, body []byte) ([]byte, error) {
		now := Now()
		var m Message
		if err := json.Unmarshal(body, &m); err != nil {
			return nil, sdk.Permanent(err)
		}
		marks.Mark(m.N, now)
		return nil, nil
	}))
	return 0
}
