package hclfile

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// fromEnv marks values that came from the environment: they may be secrets,
// and they are text whatever type is wanted.
type fromEnv struct{}

// FromEnv reports whether one of the marks says that a value came from the
// environment.
func FromEnv(marks cty.ValueMarks) bool {
	_, marked := marks[fromEnv{}]
	return marked
}

// EvalContext is what expressions in a file see: the function env alone, on
// variables that lookup knows.
func EvalContext(lookup func(string) (string, bool)) *hcl.EvalContext {
	return &hcl.EvalContext{Functions: map[string]function.Function{"env": envFunction(lookup)}}
}

// envFunction is env(name) and env(name, fallback). An unset variable without
// a fallback is null, and null means the default of whatever it is put into.
func envFunction(lookup func(string) (string, bool)) function.Function {
	return function.New(&function.Spec{
		Description: "The value of an environment variable.",
		Params:      []function.Parameter{{Name: "name", Type: cty.String}},
		VarParam:    &function.Parameter{Name: "fallback", Type: cty.String, AllowNull: true},
		Type: func(args []cty.Value) (cty.Type, error) {
			if len(args) > 2 {
				return cty.NilType, function.NewArgErrorf(2, "env takes a name and at most one fallback")
			}
			return cty.String, nil
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			name := args[0].AsString()
			if name == "" || strings.ContainsAny(name, "=\x00") {
				return cty.NilVal, function.NewArgErrorf(0, "not the name of an environment variable")
			}
			if text, ok := lookup(name); ok {
				return cty.StringVal(text).Mark(fromEnv{}), nil
			}
			if len(args) == 2 && !args[1].IsNull() {
				return args[1].Mark(fromEnv{}), nil
			}
			return cty.NullVal(cty.String), nil
		},
	})
}
