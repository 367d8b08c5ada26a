package registry_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stephost/stephost/host/processor"
	"github.com/stephost/stephost/host/registry"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plugin is an executor that only says what it handles.
type plugin struct{ state processor.ExecutorState }

func (p plugin) State() processor.ExecutorState          { return p.state }
func (plugin) Dispatch([]*pluginv1.Step, processor.Sink) {}
func (plugin) Abandon([]uint64, error)                   {}
func (plugin) Apart(processor.Suspects, bool)            {}
func (plugin) Cancel([]uint64, pluginv1.CancelReason)    {}

func orders() plugin {
	return plugin{processor.ExecutorState{
		Ready: true, Default: "validate",
		Steps: map[string]struct{}{"validate": {}, "charge": {}},
	}}
}

func TestEmptyRegistryKnowsNothing(t *testing.T) {
	t.Parallel()
	var r registry.Registry
	_, ok := r.Executor("orders")
	require.False(t, ok)
	require.Empty(t, r.List())
	require.Empty(t, r.Handlers())
	require.EqualValues(t, 1, r.Stats().Misses)
}

func TestRefreshReplacesTheWholeTable(t *testing.T) {
	t.Parallel()
	var r registry.Registry
	require.NoError(t, r.Refresh([]registry.Binding{
		{Namespace: "payments", Plugin: "orders", Executor: orders()},
		{Namespace: "orders", Plugin: "orders", Executor: orders()},
	}))
	binding, ok := r.Lookup("orders")
	require.True(t, ok)
	require.Equal(t, "orders", binding.Plugin)
	require.Equal(t, "orders", r.List()[0].Namespace, "sorted")

	require.NoError(t, r.Refresh([]registry.Binding{{Namespace: "payments", Plugin: "other", Executor: plugin{}}}))
	_, ok = r.Lookup("orders")
	require.False(t, ok)
	stats := r.Stats()
	require.Equal(t, 1, stats.Namespaces)
	require.EqualValues(t, 2, stats.Refreshes)
	require.False(t, stats.Since.IsZero())
}

func TestRefreshRefusesTwoOwnersAndKeepsTheOldTable(t *testing.T) {
	t.Parallel()
	var r registry.Registry
	require.NoError(t, r.Refresh([]registry.Binding{{Namespace: "orders", Plugin: "first", Executor: plugin{}}}))
	err := r.Refresh([]registry.Binding{
		{Namespace: "orders", Plugin: "second", Executor: plugin{}},
		{Namespace: "orders", Plugin: "third", Executor: plugin{}},
	})
	var duplicate *registry.DuplicateError
	require.ErrorAs(t, err, &duplicate)
	require.Equal(t, "orders", duplicate.Namespace)
	binding, _ := r.Lookup("orders")
	require.Equal(t, "first", binding.Plugin)
}

func TestHandlersListsStepsOfEachNamespace(t *testing.T) {
	t.Parallel()
	var r registry.Registry
	require.NoError(t, r.Refresh([]registry.Binding{{Namespace: "orders", Plugin: "shop", Executor: orders()}}))
	require.Equal(t, []registry.Handler{
		{Namespace: "orders", Plugin: "shop", Step: "charge", Ready: true},
		{Namespace: "orders", Plugin: "shop", Step: "validate", Default: true, Ready: true},
	}, r.Handlers())
}

func TestLookupsDuringRefreshesSeeOneTable(t *testing.T) {
	t.Parallel()
	var r registry.Registry
	both := func(name string) []registry.Binding {
		return []registry.Binding{{Namespace: "a", Plugin: name, Executor: plugin{}}, {Namespace: "b", Plugin: name, Executor: plugin{}}}
	}
	require.NoError(t, r.Refresh(both("one")))
	var work sync.WaitGroup
	work.Go(func() {
		for i := range 500 {
			_ = r.Refresh(both([]string{"one", "two"}[i%2]))
		}
	})
	for range 500 {
		list := r.List()
		require.Equal(t, list[0].Plugin, list[1].Plugin)
	}
	work.Wait()
}
