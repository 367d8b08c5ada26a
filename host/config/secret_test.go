package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/config"
)

func TestSecretIsNeverShown(t *testing.T) {
	t.Parallel()
	s := config.Secret(hidden)
	holder := struct {
		S config.Secret
		M map[string]config.Secret
	}{s, map[string]config.Secret{"k": s}}
	var out bytes.Buffer
	for _, verb := range "vsdqxXtbcoOUeEfFgG" {
		for _, flag := range []string{"", "+", "#", "-20", " ", ".3"} {
			fmt.Fprintf(&out, "%"+flag+string(verb)+"\n", s)
		}
	}
	fmt.Fprintf(&out, "%v %+v %#v\n", holder, holder, holder)
	fmt.Fprintln(&out, s, s.String(), s.GoString())
	require.NoError(t, json.NewEncoder(&out).Encode(holder))
	text, err := s.MarshalText()
	require.NoError(t, err)
	out.Write(text)
	for _, asJSON := range []bool{false, true} {
		hclog.New(&hclog.LoggerOptions{Output: &out, JSONFormat: asJSON}).Info("m", "s", s, "holder", holder)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "s", s, "holder", holder)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "s", s, "holder", holder)

	require.NotContains(t, out.String(), hidden)
	require.NotContains(t, out.String(), fmt.Sprintf("%x", hidden))
	require.Contains(t, out.String(), `"S":"(redacted)"`)
	require.Equal(t, hidden, s.Reveal())
}

func TestRedactedHasTheFilesNamesAndNoSecret(t *testing.T) {
	t.Parallel()
	cfg := parse(t, "queue.dsn = env(\"SECRET\")\nplugin.env = { A = env(\"SECRET\") }")
	for _, v := range []any{cfg, *cfg} {
		encoded, err := json.Marshal(v)
		require.NoError(t, err)
		require.NotContains(t, string(encoded), hidden)
		var shown map[string]map[string]map[string]any
		_ = json.Unmarshal(encoded, &shown)
		require.Equal(t, "(redacted)", shown["queue"]["pgmq"]["dsn"])
		require.Equal(t, "n_queue", shown["namespace"]["n"]["queue"])
		require.Nil(t, shown["queue"]["pgmq"]["listen_dsn"])
	}
}
