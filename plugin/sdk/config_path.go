package sdk

import (
	"slices"
	"strconv"
	"strings"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// appendAttribute, appendKey and appendIndex return the path with one more
// step, sharing nothing with it.

func appendAttribute(path []*pluginv1.PathStep, name string) []*pluginv1.PathStep {
	step := &pluginv1.PathStep{Selector: &pluginv1.PathStep_Attribute{Attribute: cleanText(name, maxNameBytes)}}
	return append(slices.Clone(path), step)
}

func appendKey(path []*pluginv1.PathStep, key string) []*pluginv1.PathStep {
	step := &pluginv1.PathStep{Selector: &pluginv1.PathStep_Key{Key: cleanText(key, maxNameBytes)}}
	return append(slices.Clone(path), step)
}

func appendIndex(path []*pluginv1.PathStep, index int) []*pluginv1.PathStep {
	step := &pluginv1.PathStep{Selector: &pluginv1.PathStep_Index{Index: int64(index)}}
	return append(slices.Clone(path), step)
}

// parsePath reads a path like `backend["eu"].ports[0]`. What it cannot read
// becomes an attribute name as it stands, so that the host can at least show
// it.
func parsePath(text string) []*pluginv1.PathStep {
	var path []*pluginv1.PathStep
	for rest := text; rest != ""; {
		if inner, ok := strings.CutPrefix(rest, "["); ok {
			selector, after, closed := cutSelector(inner)
			if !closed {
				return appendAttribute(path, rest)
			}
			if i, err := strconv.Atoi(selector); err == nil {
				path = appendIndex(path, i)
			} else if key, err := strconv.Unquote(selector); err == nil {
				path = appendKey(path, key)
			} else {
				path = appendKey(path, selector)
			}
			rest = strings.TrimPrefix(after, ".")
			continue
		}
		end := strings.IndexAny(rest, ".[")
		if end < 0 {
			return appendAttribute(path, rest)
		}
		if end > 0 {
			path = appendAttribute(path, rest[:end])
		}
		rest = strings.TrimPrefix(rest[end:], ".")
	}
	return path
}

// cutSelector splits after the bracket that ends a selector; brackets within
// a quoted key do not count.
func cutSelector(s string) (selector, after string, closed bool) {
	if quoted, err := strconv.QuotedPrefix(s); err == nil {
		after, closed = strings.CutPrefix(s[len(quoted):], "]")
		return quoted, after, closed
	}
	return strings.Cut(s, "]")
}
