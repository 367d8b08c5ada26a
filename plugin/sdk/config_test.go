package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/plugin/sdk"
)

type word string

type inner struct {
	N    int    `hcl:"n"`
	Note string `hcl:"note,optional" default:"none"`
}

type labelled struct {
	Name word `hcl:"name,label"`
	N    int  `hcl:"n,optional"`
}

type soft struct {
	Level int `hcl:"level" default:"3"`
}

type everything struct {
	Text     string             `hcl:"text" description:"some text"`
	Named    word               `hcl:"named,optional"`
	Yes      bool               `hcl:"yes,optional"`
	Int      int                `hcl:"int,optional" default:"-7"`
	Int8     int8               `hcl:"int8,optional"`
	Uint16   uint16             `hcl:"uint16,optional"`
	Uint64   uint64             `hcl:"uint64,optional"`
	Float32  float32            `hcl:"float32,optional"`
	Float    float64            `hcl:"float,optional" default:"0.5"`
	Wait     time.Duration      `hcl:"wait,optional" default:"1m30s"`
	Key      sdk.Secret         `hcl:"key,optional" default:"hidden"`
	Maybe    *int               `hcl:"maybe"`
	Strings  []string           `hcl:"strings,optional" default:"[\"a\",\"b\"]"`
	Nested   [][]int            `hcl:"nested,optional"`
	Dict     map[word][]float64 `hcl:"dict,optional"`
	Waits    []time.Duration    `hcl:"waits,optional"`
	Optional *inner             `hcl:"optional,block"`
	Soft     soft               `hcl:"soft,block"`
	List     []inner            `hcl:"list,block"`
	Map      map[string]inner   `hcl:"map,block"`
	Labelled []labelled         `hcl:"labelled,block"`
	Own      chan int           // no tag: the plugin's own
	own      int
}

// decoded configures a plugin and returns what its setup function got.
func decoded[C any](t *testing.T, config string) (C, []*pluginv1.Diagnostic) {
	t.Helper()
	var got C
	h := startHostWith(t, func(_ context.Context, c C) (*sdk.Plugin, error) {
		got = c
		return sdk.New(sdk.HandleRaw("s", noop)), nil
	})
	return got, h.configure([]byte(config)).GetDiagnostics()
}

func TestConfigDefaults(t *testing.T) {
	t.Parallel()

	h := startHostWith(t, func(_ context.Context, c everything) (*sdk.Plugin, error) {
		if c.Key.Reveal() != "hidden" {
			return nil, errors.New("the secret has no default")
		}
		c.Key = sdk.Secret{}
		require.Equal(t, everything{
			Text: "x", Int: -7, Float: 0.5, Wait: 90 * time.Second,
			Strings: []string{"a", "b"}, Soft: soft{Level: 3}, own: 0,
		}, c)
		return sdk.New(sdk.HandleRaw("s", noop), sdk.Name("late")), nil
	})
	resp := h.configure([]byte(`{"text":"x","int":null,"soft":null,"list":null}`))
	require.Empty(t, resp.GetDiagnostics())
	require.Equal(t, "late", resp.GetDescription().GetName())
	require.Equal(t, "s", resp.GetDescription().GetSteps()[0].GetName())
	_, err := h.client.Configure(h.ctx(), &pluginv1.ConfigureRequest{})
	require.ErrorContains(t, err, "configured already")
}

func TestConfigValues(t *testing.T) {
	t.Parallel()

	got, diags := decoded[everything](t, `{
		"text":"x","named":"n","yes":true,"int":1e3,"int8":-128,"uint16":65535,"uint64":18446744073709551615,
		"float32":1.5,"float":-2,"wait":"250ms","key":"k","maybe":0,"strings":[],"nested":[[1],[2,3]],
		"dict":{"a":[1.5]},"waits":["1s"],"optional":{"n":1},"soft":{"level":9},
		"list":[{"n":1},{"n":2,"note":"two"}],"map":{"eu":{"n":4}},"labelled":{"b":{"n":2},"a":{}}}`)
	require.Empty(t, diags)
	require.Equal(t, "k", got.Key.Reveal())
	got.Key = sdk.Secret{}
	zero := 0
	require.Equal(t, everything{
		Text: "x", Named: "n", Yes: true, Int: 1000, Int8: -128, Uint16: 65535, Uint64: 1<<64 - 1,
		Float32: 1.5, Float: -2, Wait: 250 * time.Millisecond, Maybe: &zero, Strings: []string{}, Nested: [][]int{{1}, {2, 3}},
		Dict: map[word][]float64{"a": {1.5}}, Waits: []time.Duration{time.Second}, Optional: &inner{N: 1, Note: "none"},
		Soft: soft{Level: 9}, List: []inner{{1, "none"}, {2, "two"}}, Map: map[string]inner{"eu": {4, "none"}},
		Labelled: []labelled{{"a", 0}, {"b", 2}},
	}, got)
}

// pathText writes a path as FieldError takes it.
func pathText(path []*pluginv1.PathStep) string {
	var b strings.Builder
	for _, p := range path {
		switch s := p.GetSelector().(type) {
		case *pluginv1.PathStep_Attribute:
			b.WriteString("." + s.Attribute)
		case *pluginv1.PathStep_Key:
			fmt.Fprintf(&b, "[%q]", s.Key)
		case *pluginv1.PathStep_Index:
			fmt.Fprintf(&b, "[%d]", s.Index)
		}
	}
	return strings.TrimPrefix(b.String(), ".")
}

func TestConfigComplaints(t *testing.T) {
	t.Parallel()

	for config, want := range map[string][2]string{
		`{}`:                        {"text", "text is required"},
		`{"text":7}`:                {"text", "must be a string, not a number"},
		`{"yes":"no"}`:              {"yes", "must be true or false, not a string"},
		`{"int":"1"}`:               {"int", "must be a number, not a string"},
		`{"int":1.5}`:               {"int", "must be a whole number between -9223372036854775808 and 9223372036854775807, not 1.5"},
		`{"uint64":1.5}`:            {"uint64", "must be a whole number between 0 and 18446744073709551615, not 1.5"},
		`{"int8":128}`:              {"int8", "must be a whole number between -128 and 127, not 128"},
		`{"uint16":-1}`:             {"uint16", "must be a whole number between 0 and 65535, not -1"},
		`{"float32":1e39}`:          {"float32", "1e39 is beyond the range of a float32"},
		`{"wait":"soon"}`:           {"wait", `must be a duration like "30s" or "1m30s", not "soon"`},
		`{"wait":30}`:               {"wait", "must be a string, not a number"},
		`{"key":123456}`:            {"key", "must be a string, not a number"},
		`{"strings":["a",null]}`:    {"strings[1]", "must be a string, not null"},
		`{"strings":"a"}`:           {"strings", "must be a list, not a string"},
		`{"nested":[[1],[2,true]]}`: {"nested[1][1]", "must be a number, not a bool"},
		`{"dict":{"a":[1,{}]}}`:     {`dict["a"][1]`, "must be a number, not an object"},
		`{"dict":[]}`:               {"dict", "must be a map, not a list"},
		`{"waits":["1s","x"]}`:      {"waits[1]", `must be a duration like "30s" or "1m30s", not "x"`},
		`{"optional":[]}`:           {"optional", "must be a block, not a list"},
		`{"optional":{}}`:           {"optional.n", "n is required"},
		`{"list":[{"n":1},{}]}`:     {"list[1].n", "n is required"},
		`{"map":{"e\"u":{"n":""}}}`: {`map["e\"u"].n`, "must be a number, not a string"},
		`{"labelled":{"a":{"n":""}}}`: {
			`labelled["a"].n`, "must be a number, not a string",
		},
		`{"soft":{"lvl":1}}`: {"soft.lvl", "lvl is not known to the plugin"},
	} {
		t.Run(config, func(t *testing.T) {
			t.Parallel()
			if config != `{}` && !strings.Contains(config, `"text"`) {
				config = `{"text":"x",` + config[1:]
			}
			_, diags := decoded[everything](t, config)
			require.Len(t, diags, 1)
			require.Equal(t, want, [2]string{pathText(diags[0].GetPath()), diags[0].GetDetail()})
			require.Equal(t, pluginv1.Severity_SEVERITY_ERROR, diags[0].GetSeverity())
		})
	}
	t.Run("all at once", func(t *testing.T) {
		t.Parallel()
		_, diags := decoded[everything](t, `{"int":true,"yes":1,"wat":1}`)
		require.Len(t, diags, 4)
	})
}

func TestConfigSchema(t *testing.T) {
	t.Parallel()

	h := startHostWith(t, func(context.Context, everything) (*sdk.Plugin, error) { return nil, nil })
	described, err := h.client.Describe(h.ctx(), &pluginv1.DescribeRequest{})
	require.NoError(t, err)
	attrs := map[string]*pluginv1.ConfigAttribute{}
	for _, a := range described.GetConfig().GetAttributes() {
		attrs[a.GetName()] = a
	}
	require.Len(t, attrs, 16)
	require.Equal(t, "some text", attrs["text"].GetDescription())
	require.True(t, attrs["key"].GetSecret())
	require.True(t, attrs["wait"].GetDuration())
	for name, a := range attrs {
		require.Equal(t, name == "text", a.GetRequired(), name)
	}
	require.Equal(t, `["map",["list","number"]]`, string(attrs["dict"].GetType()))
	require.Equal(t, `"1m30s"`, string(attrs["wait"].GetDefault()))

	type shape struct {
		nesting  pluginv1.Nesting
		min, max uint32
	}
	shapes := map[string]shape{}
	for _, b := range described.GetConfig().GetBlocks() {
		shapes[b.GetTypeName()] = shape{b.GetNesting(), b.GetMinItems(), b.GetMaxItems()}
	}
	require.Equal(t, map[string]shape{
		"optional": {pluginv1.Nesting_NESTING_SINGLE, 0, 1},
		"soft":     {pluginv1.Nesting_NESTING_SINGLE, 0, 1},
		"list":     {pluginv1.Nesting_NESTING_LIST, 0, 0},
		"map":      {pluginv1.Nesting_NESTING_MAP, 0, 0},
		"labelled": {pluginv1.Nesting_NESTING_MAP, 0, 0},
	}, shapes)
}

type (
	embedded struct{ *inner }
	hidden   struct {
		a int `hcl:"a"`
	} //nolint:unused // the tag is the mistake
	deep      []deep
	recursive struct {
		Children []recursive `hcl:"child,block"`
	}
)

func TestConfigPanicsOnMistakes(t *testing.T) {
	t.Parallel()

	for want, mistake := range map[string]func(){
		"config must be a struct, not *sdk_test.inner":                        func() { mistaken[*inner]() },
		"config field embedded.inner: embed the struct itself":                func() { mistaken[embedded]() },
		"config field hidden.a: is not exported":                              func() { mistaken[hidden]() },
		"config field recursive.Children: sdk_test.recursive contains itself": func() { mistaken[recursive]() },
		"config field labelled.Name: the config block has no label":           func() { mistaken[labelled]() },
		"A: type sdk_test.deep is nested too deeply": func() {
			mistaken[struct {
				A deep `hcl:"a"`
			}]()
		},
		"A: type **int is not supported": func() {
			mistaken[struct {
				A **int `hcl:"a"`
			}]()
		},
		"A: type chan int is not supported": func() {
			mistaken[struct {
				A chan int `hcl:"a"`
			}]()
		},
		"A: type interface {} is not supported": func() {
			mistaken[struct {
				A any `hcl:"a"`
			}]()
		},
		"A: type []byte is not supported; use string": func() {
			mistaken[struct {
				A []byte `hcl:"a"`
			}]()
		},
		"map keys are strings": func() {
			mistaken[struct {
				A map[int]string `hcl:"a"`
			}]()
		},
		"needs a tag like `hcl:\"name,block\"`": func() {
			mistaken[struct {
				A inner `hcl:"a"`
			}]()
		},
		"a block is a struct": func() {
			mistaken[struct {
				A []*inner `hcl:"a,block"`
			}]()
		},
		"blocks by label need a map[string]T": func() {
			mistaken[struct {
				A map[int]inner `hcl:"a,block"`
			}]()
		},
		"a block with a label goes into a slice": func() {
			mistaken[struct {
				A labelled `hcl:"a,block"`
			}]()
		},
		"a block has no default": func() {
			mistaken[struct {
				A inner `hcl:"a,block" default:"1"`
			}]()
		},
		"config field struct.A: its hcl tag has no name": func() {
			mistaken[struct {
				A int `hcl:",optional"`
			}]()
		},
		`"a b" cannot be a name in HCL`: func() {
			mistaken[struct {
				A int `hcl:"a b"`
			}]()
		},
		`unknown kind "remain"`: func() {
			mistaken[struct {
				A int `hcl:"a,remain"`
			}]()
		},
		`default "x" is not JSON`: func() {
			mistaken[struct {
				A int `hcl:"a" default:"x"`
			}]()
		},
		`default "300": must be a whole number`: func() {
			mistaken[struct {
				A int8 `hcl:"a" default:"300"`
			}]()
		},
		`default "soon": must be a duration`: func() {
			mistaken[struct {
				A time.Duration `hcl:"a" default:"soon"`
			}]()
		},
		`name "a" is taken by struct.A`: func() {
			mistaken[struct {
				A int `hcl:"a"`
				B int `hcl:"a"`
			}]()
		},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			defer func() { require.Contains(t, recover(), want) }()
			mistake()
		})
	}
}

var _ = hidden{}.a

// mistaken does what MainWith does first.
func mistaken[C any]() {
	sdk.NewServerWith(func(context.Context, C) (*sdk.Plugin, error) { return nil, nil }, hclog.NewNullLogger())
}

func TestSetupErrors(t *testing.T) {
	t.Parallel()

	bad := errors.New("bad")
	for name, tc := range map[string]struct {
		setup func() (*sdk.Plugin, error)
		want  []string
	}{
		"plain":      {func() (*sdk.Plugin, error) { return nil, bad }, []string{": bad"}},
		"two causes": {func() (*sdk.Plugin, error) { return nil, fmt.Errorf("dial: %w, %w", bad, bad) }, []string{": dial: bad, bad"}},
		"field":      {func() (*sdk.Plugin, error) { return nil, sdk.FieldError("text", bad) }, []string{"text: bad"}},
		"wrapped":    {func() (*sdk.Plugin, error) { return nil, fmt.Errorf("x: %w", sdk.FieldError("a.b", bad)) }, []string{"a.b: bad"}},
		"several": {func() (*sdk.Plugin, error) {
			return nil, fmt.Errorf("check: %w", errors.Join(
				sdk.FieldError(`map["e.u]"].n`, bad), sdk.FieldError("list[2]", bad), sdk.FieldError("", nil), bad))
		}, []string{`map["e.u]"].n: bad`, "list[2]: bad", ": bad"}},
		"unreadable path": {func() (*sdk.Plugin, error) { return nil, sdk.FieldError("list[2", bad) }, []string{"list.[2: bad"}},
		"panic":           {func() (*sdk.Plugin, error) { panic("ouch") }, []string{": setup panicked: ouch"}},
		"nothing":         {func() (*sdk.Plugin, error) { return nil, nil }, []string{": setup returned no plugin"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := startHostWith(t, func(context.Context, struct{}) (*sdk.Plugin, error) { return tc.setup() })
			var got []string
			for _, d := range h.configure(nil).GetDiagnostics() {
				got = append(got, pathText(d.GetPath())+": "+d.GetDetail())
			}
			require.Equal(t, tc.want, got)
		})
	}
}

func TestSecretShowsNothing(t *testing.T) {
	t.Parallel()

	type holder struct {
		Public sdk.Secret
		hidden sdk.Secret
		list   []sdk.Secret
	}
	secret := sdk.NewSecret("s3cr3t")
	h := holder{secret, secret, []sdk.Secret{secret}}
	encoded, err := json.Marshal(map[string]any{"a": secret, "b": h})
	require.NoError(t, err)
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", secret, "holder", h)
	shown := string(encoded) + log.String()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X", "%t", "%p"} {
		shown += fmt.Sprintf(verb, secret) + fmt.Sprintf(verb, &secret) + fmt.Sprintf(verb, h) + fmt.Sprintf(verb, &h)
	}
	require.NotContains(t, shown, "s3cr3t")
	require.NotContains(t, strings.ToLower(shown), fmt.Sprintf("%x", "s3cr3t"))
	require.Equal(t, "(redacted)", secret.String())
	require.Equal(t, "s3cr3t", secret.Reveal())
	require.Empty(t, sdk.Secret{}.Reveal())
}
