package pluginconfig_test

import (
	"encoding/json"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/stephost/stephost/internal/hclfile"
	"github.com/stephost/stephost/internal/pluginconfig"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// written is a config block whose content is anything that parses.
func written(content []byte) (pluginconfig.Written, bool) {
	file, diags := hclsyntax.ParseConfig(content, "fuzz.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		return pluginconfig.Written{}, false
	}
	at := hcl.Range{Filename: "fuzz.hcl", Start: hcl.InitialPos, End: hcl.InitialPos}
	return pluginconfig.Written{
		Plugin: "p", Body: file.Body, Header: at, Around: at,
		EvalContext: hclfile.EvalContext(func(name string) (string, bool) { return hidden, name == "SECRET" }),
	}, true
}

func requirePlaces(t *testing.T, diags hcl.Diagnostics) {
	t.Helper()
	for _, diag := range diags {
		require.NotEmpty(t, diag.Summary)
		require.NotNil(t, diag.Subject, diag.Summary)
		require.Equal(t, "fuzz.hcl", diag.Subject.Filename)
	}
}

// FuzzDecode: whatever a user writes into the block of an honest plugin is
// either JSON for the plugin or an error that says where.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"", `currency = "EUR"`, `currency = env("SECRET")`, `currency = null`, "currency = \"E\"\nsizes = [1, \"x\"]\nwait = \"1y\"",
		"currency = \"E\"\nnamed \"a\" {\n url = \"u\"\n}\nnamed \"a\" {\n url = 1\n}", "many {}\nmany {}\nmany {}", `sizes = [for x in [1, 2] : x * 1e308 * 1e308]`,
		"currency = \"${1/0}\"", "wait = \"1h\"\napi_key = {}", "one {\n url = \"a\"\n}\none {\n url = \"b\"\n}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		w, ok := written(content)
		if !ok {
			return
		}
		got, diags := w.Decode(pluginSchema())
		requirePlaces(t, diags)
		if diags.HasErrors() {
			require.Nil(t, got)
			return
		}
		var members map[string]any
		require.NoError(t, json.Unmarshal(got, &members))
		require.NotNil(t, members["currency"], "what is required is there")
		require.Len(t, members, 7, "and so is the rest")
	})
}

// FuzzSchema: a schema is a plugin's word. One that is taken decodes a block
// without harm, one that is not is named as the plugin's fault.
func FuzzSchema(f *testing.F) {
	valid, err := proto.Marshal(pluginSchema())
	require.NoError(f, err)
	f.Add(valid, []byte(`currency = "EUR"`))
	for _, schema := range []*pluginv1.ConfigBlock{
		{}, {Attributes: []*pluginv1.ConfigAttribute{{Name: "a", Type: []byte(`"dynamic"`)}}},
		{Attributes: []*pluginv1.ConfigAttribute{{Name: "a", Type: []byte(`["object",{"x":"string"},["x"]]`), Default: []byte(`{"x":null}`)}}},
		{Attributes: []*pluginv1.ConfigAttribute{{Name: "a", Type: []byte(`["tuple",["string","number"]]`), Default: []byte(`["a",1e999]`)}}},
		{Blocks: []*pluginv1.ConfigNestedBlock{{TypeName: "b", Nesting: pluginv1.Nesting_NESTING_MAP, Block: &pluginv1.ConfigBlock{}, MinItems: 2}}},
	} {
		data, err := proto.Marshal(schema)
		require.NoError(f, err)
		f.Add(data, []byte("a = 1\nb \"x\" {}"))
	}
	f.Fuzz(func(t *testing.T, schema, content []byte) {
		declared := &pluginv1.ConfigBlock{}
		if proto.Unmarshal(schema, declared) != nil {
			return
		}
		broken := pluginconfig.CheckSchema(declared)
		w, ok := written(content)
		if !ok {
			return
		}
		got, diags := w.Decode(declared)
		requirePlaces(t, diags)
		if broken != nil {
			require.True(t, diags.HasErrors())
			require.Contains(t, diags.Error(), "broken schema")
		}
		if !diags.HasErrors() {
			require.True(t, json.Valid(got), "%s", got)
		}
	})
}
