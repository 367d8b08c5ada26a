package protocol

import (
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// Configured returns the description that is in force once a plugin has
// answered Configure: the one in that answer, or else the first. The config
// schema is always the first one's.
func Configured(described *pluginv1.DescribeResponse, configured *pluginv1.ConfigureResponse) *pluginv1.DescribeResponse {
	later := configured.GetDescription()
	if later == nil {
		return described
	}
	return &pluginv1.DescribeResponse{
		Name:           later.GetName(),
		Version:        later.GetVersion(),
		Steps:          later.GetSteps(),
		MaxConcurrency: later.GetMaxConcurrency(),
		Capabilities:   later.GetCapabilities(),
		Config:         described.GetConfig(),
	}
}
