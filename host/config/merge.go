package config

import (
	"maps"
	"reflect"
)

// Merge is the configuration that a host runs with after it has taken over what
// it can of the next one: all but the settings that wait for its next start.
// Compare with the same next one then finds those again.
func Merge(running, next *Config) *Config {
	merged := *next
	for _, s := range []struct{ from, to *section }{
		{hostSection(&running.Host), hostSection(&merged.Host)},
		{queueSection(&running.Queue), queueSection(&merged.Queue)},
		{eventSystemSection(&running.EventSystem), eventSystemSection(&merged.EventSystem)},
	} {
		keep(s.from, s.to)
	}
	merged.written = maps.Clone(running.written)
	maps.Copy(merged.written, next.written)
	return &merged
}

// keep copies the keys that are not live.
func keep(from, to *section) {
	for i, k := range to.keys {
		if !k.live {
			reflect.ValueOf(k.target).Elem().Set(reflect.ValueOf(from.keys[i].target).Elem())
		}
	}
	for i, b := range to.blocks {
		if b.single != nil {
			keep(from.blocks[i].single, b.single)
		}
	}
}
