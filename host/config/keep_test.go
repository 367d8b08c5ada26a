package config_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/config"
)

// TestArchiveLimitsAreInheritedOneByOne: a namespace changes what it names, and
// can keep everything although the queue block does not.
func TestArchiveLimitsAreInheritedOneByOne(t *testing.T) {
	t.Parallel()
	cfg, diags := config.Parse("test.hcl", []byte(`
queue "pgmq" {
  archive {
    retain   = "7d"
    max_rows = 10
    max_size = "1GiB"
  }
}
plugin "p" {
  command = "p"
}
namespace "same" {
  plugin = "p"
}
namespace "longer" {
  plugin = "p"
  archive {
    retain = "30d"
  }
}
namespace "all" {
  plugin = "p"
  archive {
    retain   = "forever"
    max_rows = 0
    max_size = 0
  }
}
`), append(testOptions(), config.WithFileChecks(false))...)
	require.Empty(t, diags)
	const day = 24 * time.Hour
	require.Equal(t, config.Archive{Retain: 7 * day, MaxRows: 10, MaxSize: 1 << 30}, cfg.Namespaces[0].Archive)
	require.Equal(t, config.Archive{Retain: 30 * day, MaxRows: 10, MaxSize: 1 << 30}, cfg.Namespaces[1].Archive)
	require.Zero(t, cfg.Namespaces[2].Archive)
	require.Equal(t, map[string]any{"retain": "forever", "max_rows": int64(0), "max_size": 0},
		cfg.Redacted()["namespace"].(map[string]any)["all"].(map[string]any)["archive"])
	require.Equal(t, map[string]any{"retain": "30d", "max_rows": int64(10), "max_size": "1.0 GiB"},
		cfg.Redacted()["namespace"].(map[string]any)["longer"].(map[string]any)["archive"])
}
