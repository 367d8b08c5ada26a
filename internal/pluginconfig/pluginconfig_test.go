package pluginconfig_test

import (
	"bytes"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/internal/hclfile"
	"github.com/stephost/stephost/internal/pluginconfig"
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

func pluginSchema() *pluginv1.ConfigBlock {
	inner := &pluginv1.ConfigBlock{Attributes: []*pluginv1.ConfigAttribute{{Name: "url", Type: []byte(`"string"`), Required: true}}}
	return &pluginv1.ConfigBlock{
		Attributes: []*pluginv1.ConfigAttribute{
			{Name: "currency", Type: []byte(`"string"`), Required: true},
			{Name: "wait", Type: []byte(`"string"`), Duration: true, Default: []byte(`"5s"`)},
			{Name: "sizes", Type: []byte(`["list","number"]`)},
			{Name: "api_key", Type: []byte(`"string"`), Secret: true},
		},
		Blocks: []*pluginv1.ConfigNestedBlock{
			{TypeName: "one", Nesting: pluginv1.Nesting_NESTING_SINGLE, Block: inner},
			{TypeName: "many", Nesting: pluginv1.Nesting_NESTING_LIST, Block: inner, MaxItems: 2},
			{TypeName: "named", Nesting: pluginv1.Nesting_NESTING_MAP, Block: inner},
		},
	}
}

const hidden = "hunter2"

// pluginWith reads the config block of a plugin block around it.
func pluginWith(t *testing.T, block string) (pluginconfig.Written, map[string]*hcl.File) {
	t.Helper()
	src := "plugin \"p\" {\n  command = \"/p\"\n" + block + "\n}\n"
	file, diags := hclsyntax.ParseConfig([]byte(src), "p.hcl", hcl.InitialPos)
	require.Empty(t, diags)
	outer := file.Body.(*hclsyntax.Body).Blocks[0]
	w := pluginconfig.Written{
		Plugin: "p", Around: outer.DefRange(),
		EvalContext: hclfile.EvalContext(func(name string) (string, bool) { return hidden, name == "SECRET" }),
	}
	for _, inner := range outer.Body.Blocks {
		w.Body, w.Header = inner.Body, inner.DefRange()
	}
	return w, map[string]*hcl.File{"p.hcl": file}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	p, _ := pluginWith(t, `config {
  currency = env("SECRET")
  sizes = [1, 2]
  many {
    url = "a"
  }
  named "x" {
    url = "b"
  }
}`)
	got, diags := p.Decode(pluginSchema())
	require.Empty(t, diags)
	require.JSONEq(t, `{"currency":"hunter2","wait":"5s","sizes":[1,2],"api_key":null,"one":null,
		"many":[{"url":"a"}],"named":{"x":{"url":"b"}}}`, string(got))
}

func TestDecodePointsAtTheFile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		block string
		lines []int
		says  string
	}{
		"missing block":   {"", []int{1}, `"currency"`},
		"missing key":     {"config {\n}", []int{3}, `"currency"`},
		"null":            {"config {\n currency = env(\"UNSET\")\n}", []int{4}, "null"},
		"unknown key":     {"config {\n currency = \"E\"\n curency = 1\n}", []int{5}, "curency"},
		"type":            {"config {\n currency = \"E\"\n sizes = [\"x\"]\n}", []int{5}, "number"},
		"element":         {"config {\n currency = \"E\"\n sizes = [\n  1,\n  \"x\",\n ]\n}", []int{7}, "number"},
		"duration":        {"config {\n currency = \"E\"\n wait = \"5\"\n}", []int{5}, "unit"},
		"nested":          {"config {\n currency = \"E\"\n one {\n }\n}", []int{5}, `"url"`},
		"too many":        {"config {\n currency = \"E\"\n one {\n url = \"\"\n }\n one {\n url = \"\"\n }\n}", []int{8}, "at most 1"},
		"duplicate label": {"config {\n currency = \"E\"\n named \"a\" {\n url = \"\"\n }\n named \"a\" {\n url = \"\"\n }\n}", []int{8}, "another"},
		"secret":          {"config {\n currency = \"E\"\n api_key = [\"hunter2\"]\n wait = env(\"SECRET\")\n}", []int{5, 6}, "string"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, files := pluginWith(t, c.block)
			got, diags := p.Decode(pluginSchema())
			require.Nil(t, got)
			var lines []int
			for _, d := range diags {
				lines = append(lines, d.Subject.Start.Line)
			}
			require.Equal(t, c.lines, lines, diags.Error())
			var out bytes.Buffer
			require.NoError(t, hclfile.Print(&out, diags, files))
			require.Contains(t, out.String(), c.says)
			require.NotContains(t, out.String(), hidden)
		})
	}
}

func TestDecodeWithoutSchema(t *testing.T) {
	t.Parallel()
	p, _ := pluginWith(t, "")
	got, diags := p.Decode(nil)
	require.Empty(t, diags)
	require.Nil(t, got)
	p, _ = pluginWith(t, "config {\n}")
	_, diags = p.Decode(nil)
	require.Len(t, diags, 1)
	require.Equal(t, 3, diags[0].Subject.Start.Line)
}

func TestBadSchemaBlamesThePlugin(t *testing.T) {
	t.Parallel()
	attr := func(a *pluginv1.ConfigAttribute) *pluginv1.ConfigBlock {
		return &pluginv1.ConfigBlock{Attributes: []*pluginv1.ConfigAttribute{a}}
	}
	for name, schema := range map[string]*pluginv1.ConfigBlock{
		"no type":          attr(&pluginv1.ConfigAttribute{Name: "a"}),
		"bad type":         attr(&pluginv1.ConfigAttribute{Name: "a", Type: []byte(`["list"`)}),
		"dynamic":          attr(&pluginv1.ConfigAttribute{Name: "a", Type: []byte(`"dynamic"`)}),
		"no name":          attr(&pluginv1.ConfigAttribute{Type: []byte(`"string"`)}),
		"bad default":      attr(&pluginv1.ConfigAttribute{Name: "a", Type: []byte(`"number"`), Default: []byte(`"x"`)}),
		"duration number":  attr(&pluginv1.ConfigAttribute{Name: "a", Type: []byte(`"number"`), Duration: true}),
		"default duration": attr(&pluginv1.ConfigAttribute{Name: "a", Type: []byte(`"string"`), Duration: true, Default: []byte(`"x"`)}),
		"nil block":        {Blocks: []*pluginv1.ConfigNestedBlock{{TypeName: "b", Nesting: pluginv1.Nesting_NESTING_LIST}}},
		"no nesting":       {Blocks: []*pluginv1.ConfigNestedBlock{{TypeName: "b", Block: &pluginv1.ConfigBlock{}}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, _ := pluginWith(t, "config {\n}")
			_, diags := p.Decode(schema)
			require.Len(t, diags, 1)
			require.Contains(t, diags[0].Detail, `The fault is in the plugin "p"`)
			require.Equal(t, 1, diags[0].Subject.Start.Line)
		})
	}
}

func TestLocate(t *testing.T) {
	t.Parallel()
	attribute := func(s string) *pluginv1.PathStep {
		return &pluginv1.PathStep{Selector: &pluginv1.PathStep_Attribute{Attribute: s}}
	}
	key := func(s string) *pluginv1.PathStep {
		return &pluginv1.PathStep{Selector: &pluginv1.PathStep_Key{Key: s}}
	}
	index := func(i int64) *pluginv1.PathStep {
		return &pluginv1.PathStep{Selector: &pluginv1.PathStep_Index{Index: i}}
	}
	block := "config {\n currency = \"E\"\n sizes = [\n1,\n2]\n many {\n url = \"a\"\n }\n named \"x\" {\n url = \"b\"\n }\n}"
	for name, c := range map[string]struct {
		block string
		path  []*pluginv1.PathStep
		line  int
	}{
		"whole block":  {block, nil, 3},
		"attribute":    {block, []*pluginv1.PathStep{attribute("currency")}, 4},
		"element":      {block, []*pluginv1.PathStep{attribute("sizes"), index(1)}, 7},
		"no element":   {block, []*pluginv1.PathStep{attribute("sizes"), index(9)}, 5},
		"in list":      {block, []*pluginv1.PathStep{attribute("many"), index(0), attribute("url")}, 9},
		"in map":       {block, []*pluginv1.PathStep{attribute("named"), key("x"), attribute("url")}, 12},
		"block itself": {block, []*pluginv1.PathStep{attribute("named"), key("x"), attribute("none")}, 11},
		"absent":       {block, []*pluginv1.PathStep{attribute("wait")}, 3},
		"empty step":   {block, []*pluginv1.PathStep{{}, nil}, 3},
		"no config":    {"", []*pluginv1.PathStep{attribute("currency")}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, _ := pluginWith(t, c.block)
			diags := p.Locate(pluginSchema(), []*pluginv1.Diagnostic{
				{Severity: pluginv1.Severity_SEVERITY_WARNING, Summary: "s", Detail: "d", Path: c.path},
			})
			require.Len(t, diags, 1)
			require.Equal(t, c.line, diags[0].Subject.Start.Line)
			require.Equal(t, hcl.DiagWarning, diags[0].Severity)
		})
	}
}
