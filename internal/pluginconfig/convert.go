package pluginconfig

import (
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// conversionError says which part of a value does not have the wanted type.
type conversionError struct {
	path []*pluginv1.PathStep // from the whole value to the part
	want cty.Type             // of the part
	err  error
}

func (e *conversionError) Error() string { return e.err.Error() }

// convertTo returns the value in the wanted type. Where a member of a list or
// map does not fit, the error is about that member.
func convertTo(v cty.Value, want cty.Type) (cty.Value, *conversionError) {
	converted, err := convert.Convert(v, want)
	if err == nil {
		return converted, nil
	}
	if part := misfit(v, want); part != nil {
		return cty.NilVal, part
	}
	return cty.NilVal, &conversionError{want: want, err: err}
}

// misfit finds the first member that does not fit, or nil.
func misfit(v cty.Value, want cty.Type) *conversionError {
	if v.IsNull() || !v.CanIterateElements() || !want.IsCollectionType() || want.IsMapType() != byName(v.Type()) {
		return nil
	}
	for it := v.ElementIterator(); it.Next(); {
		key, member := it.Element()
		if _, err := convertTo(member, want.ElementType()); err != nil {
			err.path = append([]*pluginv1.PathStep{memberStep(key)}, err.path...)
			return err
		}
	}
	return nil
}

func byName(typ cty.Type) bool { return typ.IsMapType() || typ.IsObjectType() }

func memberStep(key cty.Value) *pluginv1.PathStep {
	if key.Type() == cty.Number {
		i, _ := key.AsBigFloat().Int64()
		return &pluginv1.PathStep{Selector: &pluginv1.PathStep_Index{Index: i}}
	}
	return &pluginv1.PathStep{Selector: &pluginv1.PathStep_Key{Key: key.AsString()}}
}
