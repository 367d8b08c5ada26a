package processor

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestSlotsOneLaneMayTakeAll(t *testing.T) {
	t.Parallel()
	s := newSlots(10)
	sh := s.join(100, func() {})
	require.Equal(t, 10, s.reserve(sh, 50))
}

func TestSlotsConcurrencyBoundsALane(t *testing.T) {
	t.Parallel()
	s := newSlots(10)
	sh := s.join(3, func() {})
	require.Equal(t, 3, s.reserve(sh, 50))
	require.Zero(t, s.reserve(sh, 1))
}

func TestSlotsGuaranteeForTheOther(t *testing.T) {
	t.Parallel()
	s := newSlots(40)
	greedy, other := s.join(100, func() {}), s.join(100, func() {})
	require.Positive(t, s.reserve(other, 1)) // both are active now
	got := s.reserve(greedy, 100)
	require.Equal(t, 30, got, "a quarter of the slots is the other's guarantee")
	require.Equal(t, 9, s.reserve(other, 100), "the rest of the guarantee is there")
}

func TestSlotsReserveForNewcomers(t *testing.T) {
	t.Parallel()
	s := newSlots(100)
	greedy, quiet := s.join(1000, func() {}), s.join(10, func() {})
	require.Equal(t, 99, s.reserve(greedy, 1000))
	require.Zero(t, s.reserve(greedy, 1), "the last one is kept for a lane with nothing in flight")
	require.Equal(t, 1, s.reserve(quiet, 5))
}

func TestSlotsOfALaneThatLeftAreFree(t *testing.T) {
	t.Parallel()
	s := newSlots(100)
	greedy, quiet := s.join(1000, func() {}), s.join(10, func() {})
	require.Equal(t, 1, s.reserve(quiet, 1))
	require.Equal(t, 90, s.reserve(greedy, 1000), "nine more are the other's guarantee")
	s.release(quiet, 1, false)
	s.leave(quiet)
	require.Equal(t, 10, s.reserve(greedy, 1000), "nothing is kept for it")
}

func TestSlotsChangeWhileTheyAreInUse(t *testing.T) {
	t.Parallel()
	s := newSlots(10)
	sh := s.join(100, func() {})
	require.Equal(t, 10, s.reserve(sh, 10))
	s.resize(4)
	s.release(sh, 5, false)
	require.Zero(t, s.reserve(sh, 1), "five are in use")
	s.release(sh, 2, false)
	require.Equal(t, 1, s.reserve(sh, 10))
	s.resize(20)
	require.Equal(t, 16, s.reserve(sh, 100))
	s.relimit(sh, 5)
	s.release(sh, 16, false)
	require.Equal(t, 1, s.reserve(sh, 100))
}

func TestSlotsWakeTheStarved(t *testing.T) {
	t.Parallel()
	s := newSlots(2)
	woken := 0
	first := s.join(10, func() {})
	second := s.join(10, func() { woken++ })
	require.Equal(t, 2, s.reserve(first, 2))
	require.Zero(t, s.reserve(second, 2))
	s.release(first, 1, false)
	require.Equal(t, 1, woken)
	require.Equal(t, 1, s.reserve(second, 1))
}

// TestSlotsNeverExceedTheirTotal drives random reservations and releases.
func TestSlotsNeverExceedTheirTotal(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.IntRange(1, 300).Draw(t, "total")
		s := newSlots(total)
		shares := make([]*share, rapid.IntRange(1, 20).Draw(t, "lanes"))
		for i := range shares {
			shares[i] = s.join(rapid.IntRange(1, 400).Draw(t, "limit"), func() {})
		}
		for range rapid.IntRange(1, 200).Draw(t, "moves") {
			sh := shares[rapid.IntRange(0, len(shares)-1).Draw(t, "lane")]
			if rapid.Bool().Draw(t, "reserve") {
				want := rapid.IntRange(0, 500).Draw(t, "want")
				require.LessOrEqual(t, s.reserve(sh, want), want)
			} else if sh.used > 0 {
				s.release(sh, rapid.IntRange(1, sh.used).Draw(t, "give"), rapid.Bool().Draw(t, "idle"))
			}
			sum := 0
			for _, sh := range shares {
				require.GreaterOrEqual(t, sh.used, 0)
				require.LessOrEqual(t, sh.used, sh.limit)
				sum += sh.used
			}
			used, _ := s.usage()
			require.Equal(t, sum, used)
			require.LessOrEqual(t, used, total)
		}
	})
}
