package many

import "github.com/stephost/stephost/bench/suite/internal/suite"

// Scenarios of this package.
func Scenarios() []suite.Scenario {
	return []suite.Scenario{
		{Name: "namespaces", About: "what 500 idle namespaces cost, and the pickup from one of them beside the only one of a host", FullOnly: true, Run: namespaces},
		{Name: "isolation", About: "what a namespace of slow handlers does to the latency of another", FullOnly: true, Run: isolation},
		{Name: "memory", About: "the host's memory with 5,000,000 messages queued and 1,000 in flight", FullOnly: true, Run: memory},
	}
}
