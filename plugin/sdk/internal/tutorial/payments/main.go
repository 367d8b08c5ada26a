// Command payments is the plugin that the documentation of the SDK and of its
// test harness shows in pieces.
package main

import "github.com/stephost/stephost/plugin/sdk"

func main() { sdk.MainWith(setup) }
