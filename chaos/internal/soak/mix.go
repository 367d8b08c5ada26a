package soak

import "github.com/stephost/stephost/chaos/internal/ledger"

// hopeless is more failures than a message may have.
const hopeless = 1000

// mix is a load in which one in a hundred fails once, one in a hundred panics once,
// and one in five hundred ends in the dead letters.
func mix(id int64) ledger.Message {
	m := ledger.New(id, 2)
	switch {
	case id%500 == 250:
		m.Do, m.Times, m.End = ledger.Fail, hopeless, ledger.Dead
	case id%100 == 33:
		m.Do, m.Times = ledger.Fail, 1
	case id%100 == 66:
		m.Do, m.Times = ledger.Panic, 1
	case id%20 == 7:
		m.Milliseconds = 300
	case id%6 == 1:
		m.Milliseconds = 30
	}
	return m
}
