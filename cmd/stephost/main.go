// Command stephost runs the steps of workflows: it takes step messages from
// queues in PostgreSQL and hands them to plugin processes. See `stephost help`.
package main

import (
	"os"

	"github.com/stephost/stephost/cmd/stephost/internal/cli"
	"github.com/stephost/stephost/host/supervisor/shim"
)

// version is set by the linker; see the Makefile.
var version string

func main() {
	// The supervisor starts this binary as the guard of each plugin's processes.
	if len(os.Args) > 1 && os.Args[1] == cli.ShimCommand {
		os.Exit(shim.Main(os.Args[2:]))
	}
	os.Exit(cli.Main(os.Args[1:], version))
}
