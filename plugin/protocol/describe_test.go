package protocol_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/plugin/protocol"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

func TestConfigured(t *testing.T) {
	t.Parallel()

	schema := &pluginv1.ConfigBlock{Attributes: []*pluginv1.ConfigAttribute{{Name: "currency"}}}
	first := &pluginv1.DescribeResponse{Name: "orders", Config: schema}

	t.Run("a plugin that said everything at once", func(t *testing.T) {
		t.Parallel()
		require.Same(t, first, protocol.Configured(first, &pluginv1.ConfigureResponse{}))
	})

	t.Run("a plugin whose steps depend on its configuration", func(t *testing.T) {
		t.Parallel()
		got := protocol.Configured(first, &pluginv1.ConfigureResponse{Description: &pluginv1.DescribeResponse{
			Name:           "orders",
			Version:        "1.2.0",
			Steps:          []*pluginv1.StepDescription{{Name: "charge"}},
			MaxConcurrency: 7,
			Capabilities:   []pluginv1.Capability{pluginv1.Capability_CAPABILITY_EMIT},
		}})
		require.Equal(t, "1.2.0", got.GetVersion())
		require.Equal(t, "charge", got.GetSteps()[0].GetName())
		require.EqualValues(t, 7, got.GetMaxConcurrency())
		require.Len(t, got.GetCapabilities(), 1)
		require.Same(t, schema, got.GetConfig())
	})
}
