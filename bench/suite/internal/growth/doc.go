// Package growth measures what becomes of throughput and of the cost of a claim
// when tables grow: millions of messages queued or archived, hundreds of
// thousands delayed or leased by others, and dead rows that no vacuum can remove.
package growth

import "github.com/stephost/stephost/bench/suite/internal/suite"

// Scenarios of this package.
func Scenarios() []suite.Scenario {
	return []suite.Scenario{
		{Name: "growth", About: "throughput with millions queued or archived, beside a small queue", FullOnly: true, Run: deep},
		{Name: "claim-cost", About: "what a claim costs with delayed, leased or dead messages in front", Run: claimCost},
		{Name: "horizon", About: "2,000 steps a second while a session holds the xmin horizon", FullOnly: true, Run: horizon},
	}
}
