package sdk

import (
	"encoding/json"
	"maps"
	"slices"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// byLabel makes the paths of diagnostics those of the user's file. A setup
// function knows labelled blocks by their place in the slice that it got, which
// is ordered by label; the host knows them by label.
func (b *configBlock) byLabel(raw []byte, diags []*pluginv1.Diagnostic) []*pluginv1.Diagnostic {
	for _, diag := range diags {
		b.relabel(raw, diag.GetPath())
	}
	return diags
}

// relabel changes the steps of a path, whose first step is a member of b.
func (b *configBlock) relabel(raw []byte, path []*pluginv1.PathStep) {
	if b == nil || len(path) == 0 {
		return
	}
	at := slices.IndexFunc(b.blocks, func(n configNested) bool { return n.name == path[0].GetAttribute() })
	if at < 0 {
		return
	}
	n := b.blocks[at]
	raw, path = members(raw)[n.name], path[1:]
	switch n.shape {
	case shapeStruct, shapePointer:
		n.block.relabel(raw, path)
		return
	case shapeMap, shapeLabelled:
		if len(path) == 0 {
			return
		}
		label, ok := labelOf(path[0], n.shape, members(raw))
		if !ok {
			return
		}
		path[0].Selector = &pluginv1.PathStep_Key{Key: label}
		n.block.relabel(members(raw)[label], path[1:])
	case shapeSlice:
		var list []json.RawMessage
		_ = json.Unmarshal(raw, &list)
		if i, ok := indexOf(path); ok && i < len(list) {
			n.block.relabel(list[i], path[1:])
		}
	}
}

// labelOf reads the label of a block from a path: written as a key, as if it
// were an attribute, or as an index into the slice.
func labelOf(step *pluginv1.PathStep, shape nestedShape, blocks map[string]json.RawMessage) (string, bool) {
	switch s := step.GetSelector().(type) {
	case *pluginv1.PathStep_Key:
		return s.Key, true
	case *pluginv1.PathStep_Attribute:
		return s.Attribute, true
	case *pluginv1.PathStep_Index:
		labels := slices.Sorted(maps.Keys(blocks))
		if shape == shapeLabelled && s.Index >= 0 && s.Index < int64(len(labels)) {
			return labels[s.Index], true
		}
	}
	return "", false
}

func indexOf(path []*pluginv1.PathStep) (int, bool) {
	if len(path) == 0 {
		return 0, false
	}
	s, ok := path[0].GetSelector().(*pluginv1.PathStep_Index)
	if !ok || s.Index < 0 {
		return 0, false
	}
	return int(s.Index), true
}

// members are those of an object; none where raw is something else.
func members(raw []byte) map[string]json.RawMessage {
	var object map[string]json.RawMessage
	_ = json.Unmarshal(raw, &object)
	return object
}
