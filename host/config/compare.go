package config

import (
	"reflect"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Compare finds what has to be done to a host that runs with one configuration
// to make it run with the next. Both must be valid. What a plugin's config block
// means is known to the plugin alone, so there every change but one of comments
// and layout counts.
func Compare(running, next *Config) Diff {
	var d Diff
	c := comparison{running, next}
	for _, s := range []struct {
		name   string
		before *section
		after  *section
	}{
		{"host", hostSection(&running.Host), hostSection(&next.Host)},
		{"queue", queueSection(&running.Queue), queueSection(&next.Queue)},
		{"event_system", eventSystemSection(&running.EventSystem), eventSystemSection(&next.EventSystem)},
	} {
		c.section(s.name, s.before, s.after, func(change Change) {
			switch {
			case !c.isWritten(change.Path):
				// Both have the default. That of host.id is another in each reading.
			case change.Live:
				d.Live = append(d.Live, change)
			default:
				d.Restart = append(d.Restart, change)
			}
		})
	}
	d.Plugins = members(running.Plugins, next.Plugins, func(p Plugin) string { return p.Name }, c.plugin)
	d.Namespaces = members(running.Namespaces, next.Namespaces, func(n Namespace) string { return n.Name }, c.namespace)
	return d
}

func members[T any](before, after []T, name func(T) string, compare func(a, b T) []Change) Members {
	var m Members
	old := make(map[string]T, len(before))
	for _, b := range before {
		old[name(b)] = b
	}
	for _, a := range after {
		b, known := old[name(a)]
		if !known {
			m.Added = append(m.Added, name(a))
			continue
		}
		delete(old, name(a))
		if keys := compare(b, a); len(keys) > 0 {
			m.Changed = append(m.Changed, Member{name(a), keys})
		}
	}
	for _, b := range before {
		if _, gone := old[name(b)]; gone {
			m.Removed = append(m.Removed, name(b))
		}
	}
	return m
}

// comparison compares the parts of two configurations.
type comparison struct{ running, next *Config }

func (c comparison) plugin(before, after Plugin) []Change {
	path := pluginPath(after.Name)
	changes := c.keys(path, after.DeclRange, pluginSection(&before), pluginSection(&after))
	if configTokens(before, c.running.Files) != configTokens(after, c.next.Files) {
		at := after.ConfigRange
		if at.Filename == "" {
			at = after.DeclRange
		}
		changes = append(changes, Change{Path: path + ".config", At: at})
	}
	return changes
}

func (c comparison) namespace(before, after Namespace) []Change {
	return c.keys(namespacePath(after.Name), after.DeclRange, namespaceSection(&before), namespaceSection(&after))
}

func (c comparison) keys(path string, fallback hcl.Range, before, after *section) (changes []Change) {
	c.section(path, before, after, func(change Change) {
		if change.At.Filename == "" {
			change.At = fallback
		}
		changes = append(changes, change)
	})
	return changes
}

// section calls changed for each key whose values differ. The sections are made
// by the same table.
func (c comparison) section(path string, before, after *section, changed func(Change)) {
	for i, k := range after.keys {
		b := before.keys[i]
		if reflect.DeepEqual(pointee(b.target), pointee(k.target)) {
			continue
		}
		change := Change{Path: path + "." + k.name, Live: k.live}
		from, to := c.running.written[change.Path], c.next.written[change.Path]
		change.At = to.at
		// What looks the same is redacted.
		if was, is := b.show(), k.show(); !from.env && !to.env && valueText(was) != valueText(is) {
			change.From, change.To = was, is
		}
		changed(change)
	}
	for i, b := range after.blocks {
		if b.single != nil {
			c.section(path+"."+b.name, before.blocks[i].single, b.single, changed)
		}
	}
}

func pointee(target any) any { return reflect.ValueOf(target).Elem().Interface() }

func (c comparison) isWritten(path string) bool {
	_, before := c.running.written[path]
	_, after := c.next.written[path]
	return before || after
}

// configTokens is what a plugin's config block says, without comments and
// layout.
func configTokens(p Plugin, files map[string]*hcl.File) string {
	body, ok := p.Body.(*hclsyntax.Body)
	if !ok {
		return ""
	}
	file := files[body.SrcRange.Filename]
	if file == nil {
		return ""
	}
	tokens, _ := hclsyntax.LexConfig(body.SrcRange.SliceBytes(file.Bytes), body.SrcRange.Filename, hcl.InitialPos)
	var text []byte
	for _, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenComment, hclsyntax.TokenNewline, hclsyntax.TokenEOF:
		default:
			text = append(append(text, t.Bytes...), 0)
		}
	}
	return string(text)
}

// writtenKey is how a key is written.
type writtenKey struct {
	at hcl.Range
	// env: from the environment, so the value must not be shown.
	env bool
}

func pluginPath(name string) string    { return "plugin." + name }
func namespacePath(name string) string { return "namespace." + name }

// remember notes where the keys of a section are written.
func (r *reading) remember(path string, s *section) {
	for _, k := range s.keys {
		if at, ok := r.ranges[k.target]; ok {
			r.cfg.written[path+"."+k.name] = writtenKey{at: at, env: r.env[k.target]}
		}
	}
	for _, b := range s.blocks {
		if b.single != nil {
			r.remember(path+"."+b.name, b.single)
		}
	}
}
