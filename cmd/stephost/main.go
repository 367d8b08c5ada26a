// Command stephost runs the steps of workflows: it takes step messages from
// queues in PostgreSQL and hands them to plugin processes. See `stephost help`.
package main

import (
	"os"

	"github.com/stephost/stephost/cmd/stephost/internal/cli"
	"github.com/stephost/stephost/host/supervisor/shim"
	"github.com/stephost/stephost/internal/gcpace"
)

// gcAllowance is how far the heap may grow, in bytes, before garbage is collected.
// A full queue drains a tenth faster for some 14 MB of memory.
const gcAllowance = 24 << 20

// version is set by the linker; see the Makefile.
var version string

func main() {
	// The supervisor starts this binary as the guard of each plugin's processes.
	if len(os.Args) > 1 && os.Args[1] == cli.ShimCommand {
		os.Exit(shim.Main(os.Args[2:]))
	}
	gcpace.Allow(gcAllowance)
	os.Exit(cli.Main(os.Args[1:], version))
}
