package pgmq

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/queues"
	"github.com/stephost/stephost/queues/pgmq/pgmqtest"
)

// kept is a queue whose walks are called long, so that its floor is kept.
type kept struct {
	*bundle
	offset time.Duration // of the broker's clock
	tick   time.Duration // what each look at the clock takes
}

func setupKept(t *testing.T) *kept {
	t.Helper()
	k := &kept{bundle: setup(t, pgmqtest.V1_10)}
	k.floors.now = func() time.Time {
		k.offset += k.tick
		return time.Unix(0, 0).Add(k.offset)
	}
	k.floors.slow = func(time.Duration, int) bool { return true }
	k.floors.long = 0
	k.create("orders")
	k.send("orders", `1`)
	require.Len(t, k.claim("orders", 10), 1)
	// As after 50 ms of walking, a second before now.
	k.floors.long = defaultLongWalk
	k.floors.mu.Lock()
	defer k.floors.mu.Unlock()
	entry, ok := k.floors.at["orders"]
	require.True(t, ok, "a short claim with a long walk keeps the floor")
	entry.walk = 50 * time.Millisecond
	k.floors.at["orders"] = entry
	return k
}

// late adds a message that became visible so long ago.
func (k *kept) late(ago, body string) {
	k.t.Helper()
	k.exec(`INSERT INTO pgmq.q_orders (vt, message) VALUES (clock_timestamp() - $1::interval, $2::jsonb)`, ago, body)
}

func (k *kept) sweep(limit int) []string {
	k.t.Helper()
	got, err := k.Claim(k.t.Context(), queues.ClaimRequest{Queue: "orders", Limit: limit, Lease: time.Minute, Sweep: true})
	require.NoError(k.t, err)
	return bodies(got)
}

func (k *kept) due() (time.Duration, bool) { return k.SweepDue("Orders") }

func TestSweepsBehindAKeptFloorArePutOffAndOwed(t *testing.T) {
	t.Parallel()
	k := setupKept(t)
	_, due := k.due()
	require.False(t, due, "the claim that kept the floor has seen everything")

	k.late("1 hour", `"late"`)
	k.late("50 milliseconds", `"a little late"`)
	k.send("orders", `2`)
	require.ElementsMatch(t, []string{`"a little late"`, `2`}, k.sweep(10))
	in, due := k.due()
	require.True(t, due)
	require.Equal(t, walkShare*50*time.Millisecond, in)

	k.offset += in - 1
	require.Empty(t, k.sweep(10))
	k.offset++
	in, due = k.due()
	require.True(t, due)
	require.Zero(t, in)
	k.send("orders", `3`)
	require.Equal(t, []string{`3`}, bodies(k.claim("orders", 10)), "what is found above is not held up")
	require.Equal(t, []string{`"late"`}, k.sweep(10))
	_, due = k.due()
	require.False(t, due, "everything was seen")
	require.NotContains(t, k.floors.at, "orders", "that walk was short")
}

func TestAClaimThatFindsNothingLooksBehindAKeptFloorWhenItIsTime(t *testing.T) {
	t.Parallel()
	k := setupKept(t)
	k.late("1 hour", `"late"`)
	require.Empty(t, k.claim("orders", 10))
	k.offset += time.Second
	require.Equal(t, []string{`"late"`}, bodies(k.claim("orders", 10)))
}

func TestFullClaimsLookBehindAKeptFloorWhenItIsTime(t *testing.T) {
	t.Parallel()
	k := setupKept(t)
	k.send("orders", `2`, `3`, `4`, `5`, `6`, `7`)
	require.Equal(t, []string{`2`, `3`}, bodies(k.claim("orders", 2)))
	k.late("1 hour", `"late"`)
	require.Equal(t, []string{`4`, `5`}, bodies(k.claim("orders", 2)))
	k.offset += time.Second
	require.ElementsMatch(t, []string{`"late"`, `6`}, bodies(k.claim("orders", 2)))
	require.Equal(t, []string{`7`}, bodies(k.claim("orders", 2)), "the floor came back up")
}

// After the database's clock went back everything that is sent is behind the
// floor, until a sweep has found some of it.
func TestAKeptFloorFollowsTheClockOfTheDatabaseBack(t *testing.T) {
	t.Parallel()
	k := setupKept(t)
	k.floors.mu.Lock()
	entry := k.floors.at["orders"]
	entry.low = entry.low.Add(time.Hour)
	k.floors.at["orders"] = entry
	k.floors.mu.Unlock()

	k.send("orders", `2`)
	require.Empty(t, k.claim("orders", 10))
	k.offset += time.Second
	k.tick = 4 * defaultLongWalk
	require.Equal(t, []string{`2`}, k.sweep(10))
	require.Contains(t, k.floors.at, "orders", "the walk was long again")
	k.tick = 0
	k.send("orders", `3`)
	require.Equal(t, []string{`3`}, bodies(k.claim("orders", 10)))
}

func TestProbesBelieveInAKeptFloorForTwoRests(t *testing.T) {
	t.Parallel()
	k := setupKept(t)
	visible := func() bool {
		states, err := k.Probe(t.Context(), []string{"orders"})
		require.NoError(t, err)
		ahead, err := k.LookAhead(t.Context(), "orders")
		require.NoError(t, err)
		require.Equal(t, states[0].Visible, ahead.Visible)
		return ahead.Visible
	}
	k.late("1 hour", `"late"`)
	require.False(t, visible())
	twoRests := 2 * walkShare * 50 * time.Millisecond
	k.offset += twoRests
	require.True(t, visible(), "nobody has claimed for long")
	k.offset -= twoRests
	k.send("orders", `2`)
	require.True(t, visible())
}

// What is behind the floor cannot be claimed: what is above must not wait for it.
func TestAFailedSweepHoldsUpNothingAboveTheFloor(t *testing.T) {
	t.Parallel()
	k := setupKept(t)
	k.exec(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$`)
	k.exec(`CREATE TRIGGER refuse BEFORE UPDATE ON pgmq.q_orders FOR EACH ROW WHEN (OLD.message = '"late"') EXECUTE FUNCTION refuse()`)
	k.late("1 hour", `"late"`)
	k.offset += time.Second
	k.send("orders", `2`)
	require.Equal(t, []string{`2`}, k.sweep(10))
	in, due := k.due()
	require.True(t, due)
	require.Equal(t, walkShare*50*time.Millisecond, in, "the next one is put off like any other")

	k.exec(`DROP TRIGGER refuse ON pgmq.q_orders`)
	k.offset += in
	require.Equal(t, []string{`"late"`}, k.sweep(10))
}

func TestOneSlowSweepDoesNotPutOffTheNextForLong(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	f := newFloors(func() time.Time { return now }, defaultLongWalk)
	f.keep("orders", now, true, 10*time.Millisecond)
	f.endedAbove("orders", true, now, &backLook{at: now, walk: 10 * time.Second})
	require.Equal(t, walkShare*walkGrowth*10*time.Millisecond, f.at["orders"].rest())
}

func TestASlowClaimIsWeighedOnceInAWhile(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	f := newFloors(func() time.Time { return now }, defaultLongWalk)
	require.False(t, f.worthWeighing("orders", slowClaim-1, 0))
	require.True(t, f.worthWeighing("orders", slowClaim, 0))
	f.weighed("orders")
	require.False(t, f.worthWeighing("orders", slowClaim, 0), "the network is slow, maybe")
	require.True(t, f.worthWeighing("others", slowClaim, 0))
	now = now.Add(weighAgain)
	require.True(t, f.worthWeighing("orders", slowClaim, 0))
}
