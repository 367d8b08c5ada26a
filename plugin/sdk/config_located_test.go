package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/plugin/sdk"
	"github.com/stephost/stephost/plugin/sdk/sdktest"
)

// The kinds of fields that a config may have, beside those that the properties
// draw.
type common struct {
	Region string `hcl:"region" default:"eu"`
	Retry  *retry `hcl:"retry,block"`
}

type retry struct {
	Attempts int           `hcl:"attempts"`
	Wait     time.Duration `hcl:"wait" default:"1s"`
}

type endpoint struct {
	Name string   `hcl:"name,label"`
	URL  string   `hcl:"url"`
	Tags []string `hcl:"tags,optional"`
}

type shop struct {
	common
	Sizes     []int             `hcl:"sizes,optional"`
	Limits    map[string]int    `hcl:"limits,optional"`
	Key       sdk.Secret        `hcl:"key,optional"`
	Endpoints []endpoint        `hcl:"endpoint,block"`
	Stages    []retry           `hcl:"stage,block"`
	Zones     map[string]common `hcl:"zone,block"`
}

const shopBlock = `region = "us"
retry {
  attempts = 3
}
sizes = [
  1,
  2,
]
limits = {
  small = 1
  large = 2
}
endpoint "b" {
  url = "B"
}
endpoint "a" {
  url  = "A"
  tags = ["x", "y"]
}
stage {
  attempts = 1
}
stage {
  attempts = 2
}
zone "north" {
  retry {
    attempts = 4
  }
}`

var position = regexp.MustCompile(`on config\.hcl:(\d+,\d+)`)

// positions are where a config block is wrong. The first line of hcl is line 1
// here.
func positions(t *testing.T, hcl string, complaint error) (at []string, printed string) {
	t.Helper()
	printed = sdktest.ConfigError(t, func(_ context.Context, c shop) (*sdk.Plugin, error) {
		if complaint == nil {
			complaint = errors.New("setup was called")
		}
		return nil, complaint
	}, sdktest.Config(hcl))
	for _, found := range position.FindAllStringSubmatch(printed, -1) {
		var line, column int
		_, err := fmt.Sscanf(found[1], "%d,%d", &line, &column)
		require.NoError(t, err)
		at = append(at, fmt.Sprintf("%d:%d", line-1, column))
	}
	return at, printed
}

func TestFieldErrorPointsIntoTheFile(t *testing.T) {
	t.Parallel()

	for path, want := range map[string]string{
		"region":                        "1:10", // of an embedded struct
		"retry.attempts":                "3:14",
		"retry":                         "2:1",
		"retry.wait":                    "2:1", // not written: its block
		"sizes":                         "5:9",
		"sizes[1]":                      "7:3",
		"sizes[7]":                      "5:9", // not there: the whole list
		`limits["large"]`:               "11:11",
		"limits.small":                  "10:11",
		`endpoint["a"].url`:             "17:10",
		"endpoint[0].url":               "17:10", // the slice is ordered by label
		"endpoint[1].url":               "14:9",
		"endpoint.b.url":                "14:9",
		"endpoint[0].tags[1]":           "18:16",
		"endpoint[7].url":               "0:1", // no such block: the one around it
		"stage[1].attempts":             "24:14",
		"stage[1]":                      "23:1",
		`zone["north"].retry.attempts`:  "28:16",
		`zone.north.retry.attempts`:     "28:16",
		`zone["south"].retry.attempts`:  "0:1",
		"nowhere":                       "0:1",
		"nowhere.at.all[3]":             "0:1",
		"":                              "0:1",
		"sizes[":                        "5:9",
		`zone["north"].retry.nothing.x`: "27:3",
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			at, printed := positions(t, shopBlock, sdk.FieldError(path, errors.New("bad")))
			require.Equal(t, []string{want}, at, printed)
			require.Contains(t, printed, "Error: Plugin rejects a value")
			require.Contains(t, printed, "\n  bad\n")
		})
	}
}

func TestSeveralFieldErrorsAndOthers(t *testing.T) {
	t.Parallel()
	at, printed := positions(t, shopBlock, fmt.Errorf("check: %w", errors.Join(
		sdk.FieldError("stage[0].attempts", errors.New("one is too few")),
		sdk.FieldError("region", errors.New("is closed")),
		errors.New("the gateway does not answer"),
	)))
	require.Equal(t, []string{"0:1", "1:10", "21:14"}, at, printed)
	require.Contains(t, printed, "the gateway does not answer")
}

func TestTypeErrorsPointIntoTheFile(t *testing.T) {
	t.Parallel()

	for hcl, want := range map[string][]string{
		`region = ["eu"]`:                                        {"1:10"},
		"sizes = [\n  1,\n  \"x\",\n]":                           {"3:3"}, // the element
		"sizes = [\n  1,\n  1.5,\n]":                             {"3:3"}, // found by the plugin
		"sizes = [\n  1,\n  null,\n]":                            {"3:3"},
		"limits = {\n  a = 1\n  b = \"x\"\n}":                    {"3:7"},
		`limits = "x"`:                                           {"1:10"},
		"retry {\n}":                                             {"1:1"},
		"retry {\n  attempts = 1\n  wait = \"5\"\n}":             {"3:10"},
		"retry {\n  attempts = 1\n}\nretry {\n  attempts = 1\n}": {"4:1"},
		"endpoint {\n  url = \"x\"\n}":                           {"1:10"},
		"endpoint \"a\" {\n}\nendpoint \"a\" {\n  url = 1\n}":    {"1:1", "3:10"},
		"stage {\n  attempts = 1\n  attempt = 2\n}":              {"3:3"},
		"zone \"n\" {\n  rgion = \"x\"\n}\nsize = []":            {"2:3", "4:1"},
		"retry {\n  attempts = env(\"UNSET_VARIABLE\")\n}":       {"2:14"},
		"region = nothing":                                       {"1:10"},
		"region = env(1, 2, 3)":                                  {"1:20"},
	} {
		t.Run(hcl, func(t *testing.T) {
			t.Parallel()
			at, printed := positions(t, hcl, nil)
			require.Equal(t, want, at, printed)
			require.NotContains(t, printed, "setup was called")
		})
	}
}

func TestSecretsAreInNoDiagnostic(t *testing.T) {
	t.Parallel()
	for _, hcl := range []string{
		`key = ["hunter2"]`,
		`key = { a = "hunter2" }`,
		"sizes = [env(\"SECRET\")]",
	} {
		printed := sdktest.ConfigError(t, func(context.Context, shop) (*sdk.Plugin, error) {
			return nil, errors.New("setup was called")
		}, sdktest.Config(hcl), sdktest.Env(map[string]string{"SECRET": "hunter2"}))
		require.NotContains(t, printed, "setup was called", hcl)
		require.NotContains(t, printed, "hunter2", hcl)
	}
}

// The environment has text only; it becomes what is wanted.
func TestValuesFromTheEnvironment(t *testing.T) {
	t.Parallel()

	var got shop
	sdktest.StartWith(t, func(_ context.Context, c shop) (*sdk.Plugin, error) {
		got = c
		return sdk.New(sdk.HandleRaw("s", noop)), nil
	}, sdktest.Config(`
region = env("UNSET")
key    = env("KEY")
sizes  = [env("N"), env("UNSET", "8")]
retry {
  attempts = env("N")
  wait     = env("WAIT")
}`), sdktest.Env(map[string]string{"KEY": "s3cr3t", "N": "7", "WAIT": "2m"}))
	require.Equal(t, "eu", got.Region)
	require.Equal(t, "s3cr3t", got.Key.Reveal())
	require.Equal(t, []int{7, 8}, got.Sizes)
	require.Equal(t, &retry{Attempts: 7, Wait: 2 * time.Minute}, got.Retry)
}

func TestEmbeddedStructs(t *testing.T) {
	t.Parallel()

	var got shop
	sdktest.StartWith(t, func(_ context.Context, c shop) (*sdk.Plugin, error) {
		got = c
		return sdk.New(sdk.HandleRaw("s", noop)), nil
	}, sdktest.Config("zone \"north\" {\n  retry {\n    attempts = 7\n  }\n}"))
	require.Equal(t, "eu", got.Region)
	require.Equal(t, map[string]common{"north": {Region: "eu", Retry: &retry{Attempts: 7, Wait: time.Second}}}, got.Zones)

	// What an embedded struct has no tags in is the plugin's own.
	type own struct {
		*time.Location
		Name string `hcl:"name"`
	}
	var name string
	sdktest.StartWith(t, func(_ context.Context, c own) (*sdk.Plugin, error) {
		name = c.Name
		return sdk.New(sdk.HandleRaw("s", noop)), nil
	}, sdktest.Config(`name = "n"`))
	require.Equal(t, "n", name)
}
