package config

import "encoding/json"

// Redacted returns the effective configuration under the names of the file,
// with every secret redacted and an absent one nil. Plugins' own config blocks
// are left out: only the plugins know what is secret in them.
func (c *Config) Redacted() map[string]any {
	plugins, namespaces := map[string]any{}, map[string]any{}
	for i := range c.Plugins {
		plugins[c.Plugins[i].Name] = show(pluginSection(&c.Plugins[i]))
	}
	for i := range c.Namespaces {
		namespaces[c.Namespaces[i].Name] = show(namespaceSection(&c.Namespaces[i]))
	}
	return map[string]any{
		"host":         show(hostSection(&c.Host)),
		"queue":        map[string]any{c.Queue.Kind: show(queueSection(&c.Queue))},
		"event_system": show(eventSystemSection(&c.EventSystem)),
		"plugin":       plugins,
		"namespace":    namespaces,
	}
}

// MarshalJSON writes Redacted.
func (c Config) MarshalJSON() ([]byte, error) { return json.Marshal(c.Redacted()) }

func show(s *section) map[string]any {
	shown := map[string]any{}
	for _, k := range s.keys {
		shown[k.name] = k.show()
	}
	for _, b := range s.blocks {
		if b.single != nil {
			shown[b.name] = show(b.single)
		}
	}
	return shown
}
