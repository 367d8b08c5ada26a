package host_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/config"
)

// keyTest shows on a running host that a configuration key changes behaviour.
// It is given the key, so that what it sets is what it is listed under.
type keyTest func(t *testing.T, key string)

func keyTests() map[string]keyTest {
	all := make(map[string]keyTest)
	for _, group := range []map[string]keyTest{
		hostKeyTests(), queueKeyTests(), keepKeyTests(), eventSystemKeyTests(), bufferKeyTests(), pluginKeyTests(), isolationKeyTests(), namespaceKeyTests(), retryKeyTests(),
	} {
		maps.Copy(all, group)
	}
	return all
}

func TestEveryKeyChangesBehaviour(t *testing.T) {
	t.Parallel()
	for key, test := range keyTests() {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			test(t, key)
		})
	}
}

func TestEveryKeyHasABehaviourTest(t *testing.T) {
	t.Parallel()
	cfg, diags := config.Parse("test.hcl", []byte(conf{}.file(t, "")))
	require.False(t, diags.HasErrors(), diags)
	// The schema of this block is the plugin's, so it is not among the keys.
	known := []string{"plugin.config"}
	for block, content := range cfg.Redacted() {
		for _, key := range leafKeys(content.(map[string]any)) {
			switch block {
			case "queue", "plugin", "namespace":
				_, key = cutDot(key) // the label
			}
			known = append(known, block+"."+key)
		}
	}
	slices.Sort(known)
	known = slices.Compact(known)
	require.Equal(t, known, slices.Sorted(maps.Keys(keyTests())), "each key has one behaviour test, and no more than the known keys have")
}

// leafKeys are the paths of all values that are not blocks.
func leafKeys(block map[string]any) []string {
	var keys []string
	for name, value := range block {
		inner, ok := value.(map[string]any)
		if !ok || len(inner) == 0 { // an empty map is plugin.env
			keys = append(keys, name)
			continue
		}
		for _, key := range leafKeys(inner) {
			keys = append(keys, name+"."+key)
		}
	}
	return keys
}
