package conformance

import (
	"fmt"
	"strings"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// inSchema reports whether a diagnostic's path leads to something that the
// schema has. What is inside an attribute's value is the plugin's own.
func inSchema(block *pluginv1.ConfigBlock, path []*pluginv1.PathStep) bool {
	if len(path) == 0 {
		return true
	}
	name := path[0].GetAttribute()
	for _, a := range block.GetAttributes() {
		if a.GetName() == name {
			return true
		}
	}
	for _, n := range block.GetBlocks() {
		if n.GetTypeName() != name {
			continue
		}
		path = path[1:]
		if len(path) == 0 {
			return true
		}
		switch path[0].GetSelector().(type) {
		case *pluginv1.PathStep_Index:
			return n.GetNesting() == pluginv1.Nesting_NESTING_LIST && inSchema(n.GetBlock(), path[1:])
		case *pluginv1.PathStep_Key:
			return n.GetNesting() == pluginv1.Nesting_NESTING_MAP && inSchema(n.GetBlock(), path[1:])
		default:
			return n.GetNesting() == pluginv1.Nesting_NESTING_SINGLE && inSchema(n.GetBlock(), path)
		}
	}
	return false
}

func showPath(path []*pluginv1.PathStep) string {
	var b strings.Builder
	for _, step := range path {
		switch s := step.GetSelector().(type) {
		case *pluginv1.PathStep_Attribute:
			b.WriteString("." + s.Attribute)
		case *pluginv1.PathStep_Key:
			fmt.Fprintf(&b, "[%q]", s.Key)
		case *pluginv1.PathStep_Index:
			fmt.Fprintf(&b, "[%d]", s.Index)
		default:
			b.WriteString(".(nothing)")
		}
	}
	return b.String()
}
