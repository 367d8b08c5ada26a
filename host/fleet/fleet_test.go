package fleet_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/fleet"
	"github.com/stephost/stephost/host/processor"
	"github.com/stephost/stephost/host/supervisor"
)

func TestNewGenerationServesWhileTheOldOneFinishes(t *testing.T) {
	t.Parallel()
	b := setup(t, spec(t, "orders", "v1"))
	held, letGo := b.hold("orders")
	old := b.executor("orders")

	swapped, err := b.Swap(b.ctx(), spec(t, "orders", "v2"))
	require.NoError(t, err)
	require.Equal(t, "v1", swapped.Old.Version)
	require.Equal(t, "v2", swapped.New.Version)
	require.Equal(t, []int{1, 2}, []int{swapped.Old.Generation, swapped.New.Generation})
	require.NotEqual(t, swapped.Old.PIDs, swapped.New.PIDs)
	require.Equal(t, `"v2"`, b.version("orders"))

	generations := b.Generations()
	require.Len(t, generations, 2)
	require.True(t, generations[1].Retiring)
	require.Equal(t, 1, generations[1].Plugin.InFlight())
	require.Equal(t, supervisor.StateDraining, generations[1].Plugin.Status().State)
	late := b.send(old, "echo", "{}")
	<-late.returned

	letGo()
	require.Equal(t, `"v1"`, string(held.result(t).GetSuccess().GetOutput()))
	b.only("orders", 2)
}

func TestVersionThatDoesNotComeUpLeavesTheOldOneServing(t *testing.T) {
	t.Parallel()
	b := setup(t, spec(t, "orders", "v1"))
	_, err := b.Swap(b.ctx(), spec(t, "orders", "bad"))
	require.ErrorContains(t, err, `plugin "orders" is not swapped: the old version serves on: `)
	require.ErrorContains(t, err, "cannot find my licence")
	var start *supervisor.StartError
	require.ErrorAs(t, err, &start)
	require.Equal(t, 3, start.Exit.Code)
	require.Equal(t, `"v1"`, b.version("orders"))
	b.only("orders", 1)
	// An operator must not take the failed version's end for the plugin's.
	require.Regexp(t, `plugin changed its state: plugin=orders from=\S+ to=stopped .* generation=2\n`, b.logs.String())
	require.Regexp(t, `plugin failed: plugin=orders generation=2`, b.logs.String())
	require.NotRegexp(t, `to=stopped .* generation=1\n`, b.logs.String())

	_, err = b.Swap(b.ctx(), spec(t, "orders", "v3"))
	require.NoError(t, err)
	require.Equal(t, `"v3"`, b.version("orders"))
}

func TestEveryProcessOfAPoolIsReadyBeforeTheFlip(t *testing.T) {
	t.Parallel()
	b := setup(t, spec(t, "orders", "v1"))
	swapped, err := b.Swap(b.ctx(), spec(t, "orders", "v2", func(s *fleet.Spec) { s.Instances = 3 }))
	require.NoError(t, err)
	require.Len(t, swapped.New.PIDs, 3)
}

func TestVersionThatDoesNotComeUpEitherIsNotSaidToLeaveAnotherServing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.Start([]fleet.Spec{spec(t, "orders", "bad")}))
	_, err := b.Swap(b.ctx(), spec(t, "orders", "bad"))
	require.ErrorContains(t, err, `plugin "orders" is not swapped: nothing has changed: `)

	held := spec(t, "orders", "v1")
	held.Hold = "it is still to be built"
	_, err = b.Swap(b.ctx(), held)
	require.EqualError(t, err, `plugin "orders" is not swapped: it is still to be built`)

	_, err = b.Swap(b.ctx(), spec(t, "orders", "v1"))
	require.NoError(t, err)
}

func TestExclusivePluginMakesRoomFirst(t *testing.T) {
	t.Parallel()
	lock := filepath.Join(t.TempDir(), "lock")
	b := setup(t, spec(t, "orders", "v1", exclusive(lock)))
	held, letGo := b.hold("orders")

	done := make(chan error, 1)
	go func() {
		_, err := b.Swap(b.ctx(), spec(t, "orders", "v2", exclusive(lock)))
		done <- err
	}()
	exec := b.executor("orders")
	for state := exec.State(); state.Ready; state = exec.State() {
		<-state.Changed
	}
	require.Len(t, b.Generations(), 1, "the new one waits")
	letGo()
	require.Equal(t, `"v1"`, string(held.result(t).GetSuccess().GetOutput()))
	require.NoError(t, <-done)
	require.Equal(t, `"v2"`, b.version("orders"))
}

func TestExclusivePluginIsStartedAgainWhenTheNewOneDoesNotComeUp(t *testing.T) {
	t.Parallel()
	lock := filepath.Join(t.TempDir(), "lock")
	b := setup(t, spec(t, "orders", "v1", exclusive(lock)))
	_, err := b.Swap(b.ctx(), spec(t, "orders", "bad", exclusive(lock)))
	require.ErrorContains(t, err, "the old version of orders was started again: ")
	require.ErrorContains(t, err, "cannot find my licence")
	require.Equal(t, `"v1"`, b.version("orders"))
	b.only("orders", 3)
}

func TestExclusivePluginThatDoesNotComeBackIsReported(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lock := filepath.Join(dir, "lock")
	b := setup(t, spec(t, "orders", "v1", exclusive(lock), func(s *fleet.Spec) { s.Env["ONCE"] = filepath.Join(dir, "once") }))
	_, err := b.Swap(b.ctx(), spec(t, "orders", "bad", exclusive(lock)))
	require.ErrorContains(t, err, "the old version was started again and did not come up either")
	require.ErrorContains(t, err, "it has been started before")
	require.ErrorContains(t, err, "cannot find my licence")
	b.only("orders", 3)
}

func TestStepsFinishBesideAChangeThatFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	one, two := exclusive(filepath.Join(dir, "one")), exclusive(filepath.Join(dir, "two"))
	b := setup(t, spec(t, "a", "v1", one), spec(t, "b", "v1", two))
	held, letGo := b.hold("a")
	done := make(chan error, 1)
	go func() {
		_, err := b.Prepare(b.ctx(), fleet.Change{Start: []fleet.Spec{spec(t, "a", "v2", one), spec(t, "b", "bad", two)}})
		done <- err
	}()
	b.only("b", 3)
	letGo()
	require.Equal(t, `"v1"`, string(held.result(t).GetSuccess().GetOutput()))
	require.ErrorContains(t, <-done, "cannot find my licence")
	for _, name := range []string{"a", "b"} {
		require.Equal(t, `"v1"`, b.version(name))
	}
}

func TestStepsFinishInAFrozenFleet(t *testing.T) {
	t.Parallel()
	lock := exclusive(filepath.Join(t.TempDir(), "lock"))
	b := setup(t, spec(t, "orders", "v1", lock))
	held, letGo := b.hold("orders")
	done := make(chan error, 1)
	go func() {
		_, err := b.Prepare(b.ctx(), fleet.Change{Start: []fleet.Spec{spec(t, "orders", "v2", lock)}})
		done <- err
	}()
	exec := b.executor("orders")
	for state := exec.State(); state.Ready; state = exec.State() {
		<-state.Changed
	}
	b.Freeze()
	require.ErrorIs(t, <-done, fleet.ErrStopped)
	_, err := b.Swap(b.ctx(), spec(t, "orders", "v3", lock))
	require.ErrorIs(t, err, fleet.ErrStopped)
	letGo()
	require.Equal(t, `"v1"`, string(held.result(t).GetSuccess().GetOutput()))
}

func TestChangeOfSeveralPluginsIsAllOrNothing(t *testing.T) {
	t.Parallel()
	lock := filepath.Join(t.TempDir(), "lock")
	b := setup(t, spec(t, "a", "v1"), spec(t, "b", "v1"), spec(t, "c", "v1"))
	binds := b.binds

	_, err := b.Prepare(b.ctx(), fleet.Change{
		Start:  []fleet.Spec{spec(t, "a", "v2"), spec(t, "b", "bad"), spec(t, "new", "v1"), spec(t, "c", "v2", exclusive(lock))},
		Remove: nil,
	})
	require.ErrorContains(t, err, "cannot find my licence")
	for _, name := range []string{"a", "b", "c"} {
		require.Equal(t, `"v1"`, b.version(name))
		b.only(name, 1)
	}
	require.Len(t, b.Generations(), 3)
	require.Equal(t, binds, b.binds, "nothing was bound")

	p, err := b.Prepare(b.ctx(), fleet.Change{
		Start:  []fleet.Spec{spec(t, "a", "v2"), spec(t, "new", "v1")},
		Remove: []string{"b"},
	})
	require.NoError(t, err)
	require.Equal(t, `"v1"`, b.version("a"), "not before the flip")
	refused := errors.New("no")
	require.ErrorIs(t, p.Flip(func(map[string]processor.Executor) error { return refused }), refused)
	require.Equal(t, `"v1"`, b.version("a"))
	_, known := b.Lookup("b")
	require.True(t, known)

	require.NoError(t, p.Flip(nil))
	require.Equal(t, binds+1, b.binds, "once for all")
	require.Equal(t, `"v2"`, b.version("a"))
	require.Equal(t, `"v1"`, b.version("new"))
	require.Nil(t, b.executor("b"))
	require.Eventually(t, func() bool { return len(b.Generations()) == 3 }, patience, time.Millisecond)

	_, err = b.Prepare(b.ctx(), fleet.Change{Remove: []string{"b"}})
	var unknown *fleet.UnknownPluginError
	require.ErrorAs(t, err, &unknown)
	require.Equal(t, "b", unknown.Plugin)
}

func TestAbortedChangeChangesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, spec(t, "a", "v1"))
	p, err := b.Prepare(b.ctx(), fleet.Change{Start: []fleet.Spec{spec(t, "a", "v2"), spec(t, "b", "v1")}})
	require.NoError(t, err)
	require.NoError(t, p.Abort())
	require.Equal(t, `"v1"`, b.version("a"))
	require.Len(t, b.Generations(), 1)
	_, err = b.Swap(b.ctx(), spec(t, "a", "v3"))
	require.NoError(t, err)
}

func TestOneChangeAtATime(t *testing.T) {
	t.Parallel()
	b := setup(t, spec(t, "a", "v1"), spec(t, "b", "v1"))
	p, err := b.Prepare(b.ctx(), fleet.Change{Start: []fleet.Spec{spec(t, "a", "v2")}})
	require.NoError(t, err)
	_, err = b.Swap(b.ctx(), spec(t, "a", "v3"))
	var busy *fleet.BusyError
	require.ErrorAs(t, err, &busy)
	_, err = b.Swap(b.ctx(), spec(t, "b", "v2"))
	require.NoError(t, err, "others can be changed")
	require.NoError(t, p.Flip(nil))
	require.Equal(t, `"v2"`, b.version("a"))
	_, err = b.Swap(b.ctx(), spec(t, "nowhere", "v1"))
	var unknown *fleet.UnknownPluginError
	require.ErrorAs(t, err, &unknown)
}

func TestSwapGoesOnWhenNobodyWaits(t *testing.T) {
	t.Parallel()
	ready := filepath.Join(t.TempDir(), "ready")
	b := setup(t, spec(t, "orders", "v1"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.Swap(ctx, spec(t, "orders", "slow", func(s *fleet.Spec) { s.Env["READY"] = ready }))
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "goes on")
	require.NoError(t, os.WriteFile(ready, nil, 0o600))
	b.only("orders", 2)
	require.Equal(t, `"slow"`, b.version("orders"))
}

func TestStopEndsASwapThatIsUnderWay(t *testing.T) {
	t.Parallel()
	started := filepath.Join(t.TempDir(), "started")
	b := setup(t, spec(t, "orders", "v1"))
	b.hold("orders")
	_, err := b.Swap(b.ctx(), spec(t, "orders", "v2"))
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() {
		_, err := b.Swap(b.ctx(), spec(t, "orders", "slow", func(s *fleet.Spec) { s.Env["READY"], s.Env["ONCE"] = "/nowhere/ever", started }))
		done <- err
	}()
	require.Eventually(t, func() bool { return exists(started) }, patience, time.Millisecond)
	b.stop()
	require.Error(t, <-done)
	for _, g := range b.Generations() {
		require.Equal(t, supervisor.StateStopped, g.Plugin.Status().State)
	}
	_, err = b.Swap(b.ctx(), spec(t, "orders", "v4"))
	require.ErrorIs(t, err, fleet.ErrStopped)
}

func TestStepsThatOutlastTheDrainAreCalledBack(t *testing.T) {
	t.Parallel()
	b := setup(t, spec(t, "orders", "v1", func(s *fleet.Spec) { s.Drain = 50 * time.Millisecond }))
	old := b.executor("orders")
	held, _ := b.hold("orders")
	_, err := b.Swap(b.ctx(), spec(t, "orders", "v2"))
	require.NoError(t, err)
	require.Contains(t, held.result(t).GetFailure().GetMessage(), "told to stop")
	b.only("orders", 2)
	b.mu.Lock()
	defer b.mu.Unlock()
	require.Equal(t, []processor.Executor{old}, b.recalled)
}

func TestStepsGetTheDrainThatWasSetLast(t *testing.T) {
	t.Parallel()
	b := setup(t, spec(t, "orders", "v1", func(s *fleet.Spec) { s.Drain = 0 }))
	held, letGo := b.hold("orders")
	b.SetDrain("orders", patience)
	b.SetDrain("nobody", patience)
	_, err := b.Swap(b.ctx(), spec(t, "orders", "v2"))
	require.NoError(t, err)
	letGo()
	require.NotNil(t, held.result(t).GetSuccess())
	b.only("orders", 2)
	require.Empty(t, b.recalled)
}

func TestPluginThatBacksOffIsReplaced(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.Start([]fleet.Spec{spec(t, "orders", "bad")}))
	require.Error(t, b.executor("orders").(*supervisor.Plugin).WaitStarted(b.ctx()))
	swapped, err := b.Swap(b.ctx(), spec(t, "orders", "v2"))
	require.NoError(t, err)
	require.Empty(t, swapped.Old.Version)
	require.Equal(t, `"v2"`, b.version("orders"))
	b.only("orders", 2)
}
