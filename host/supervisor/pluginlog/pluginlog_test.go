package pluginlog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// written runs text through an output and returns the log.
func written(flood *Flood, text string) string {
	var log bytes.Buffer
	o := New(hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Trace, JSONFormat: true}), flood)
	o.Read(strings.NewReader(text), Stderr, nil)
	o.Close()
	return log.String()
}

// TestRateLimit has a clock that moves by itself when everything waits.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		flood := &Flood{}
		log := written(flood, strings.Repeat("ordinary\n", 10_000))
		require.LessOrEqual(t, strings.Count(log, "ordinary"), ordinaryBurst)
		require.EqualValues(t, 10_000-strings.Count(log, "ordinary"), flood.Dropped())
		require.Contains(t, log, fmt.Sprintf(`"dropped":%d`, flood.Dropped()))
		require.Equal(t, 1, strings.Count(log, "dropped\":"))

		require.Contains(t, written(flood, "ERROR: what happened\n"), "what happened", "errors have as much for themselves")
		require.NotContains(t, written(flood, "ordinary\n"), "ordinary")

		time.Sleep(time.Second)
		require.Equal(t, pendingLines, strings.Count(written(flood, strings.Repeat("ordinary\n", pendingLines)), "ordinary"))
	})
}

func TestLongLinesCostMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		flood := &Flood{}
		line := strings.Repeat("x", 10<<10) + "\n"
		require.LessOrEqual(t, strings.Count(written(flood, strings.Repeat(line, 1000)), "xxx…")+strings.Count(written(flood, line), "x\""), ordinaryBurst/11)
	})
}

// TestReportsComeOnceASecond has a plugin that never stops.
func TestReportsComeOnceASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		flood := &Flood{}
		o := New(hclog.New(&hclog.LoggerOptions{Output: &log}), flood)
		r, w := io.Pipe()
		o.Read(r, Stderr, nil)
		begin := time.Now()
		for time.Since(begin) < 5*time.Second {
			_, _ = io.WriteString(w, strings.Repeat("ordinary\n", 100))
			time.Sleep(10 * time.Millisecond)
		}
		_ = w.Close()
		o.Close()
		reports := strings.Count(log.String(), "lines were dropped")
		require.GreaterOrEqual(t, reports, 4)
		require.LessOrEqual(t, reports, 6)
		require.Positive(t, flood.Dropped())
	})
}

// TestTheLastDropsAreReported has a flood that ends while its process lives on.
func TestTheLastDropsAreReported(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		flood := &Flood{}
		o := New(hclog.New(&hclog.LoggerOptions{Output: &log}), flood)
		r, w := io.Pipe()
		o.Read(r, Stderr, nil)
		for range 3 {
			_, _ = io.WriteString(w, strings.Repeat("ordinary\n", 4000))
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		reported := 0
		for line := range strings.Lines(log.String()) {
			var n int
			if _, count, ok := strings.Cut(line, "dropped="); ok {
				_, err := fmt.Sscan(count, &n)
				require.NoError(t, err)
				reported += n
			}
		}
		require.EqualValues(t, flood.Dropped(), reported)
		_ = w.Close()
		o.Close()
	})
}

func TestExcerpt(t *testing.T) {
	t.Parallel()
	feed := func(text string) []string {
		o := New(hclog.NewNullLogger(), &Flood{})
		o.Read(strings.NewReader(text), Stderr, nil)
		o.Close()
		return o.Last()
	}
	numbered := func(format string, from, to int) string {
		var b strings.Builder
		for n := from; n < to; n++ {
			fmt.Fprintf(&b, format+"\n", n)
		}
		return b.String()
	}
	for name, c := range map[string]struct {
		text string
		want string
	}{
		"nothing":     {"", ""},
		"short":       {numbered("line %d", 0, 50), numbered("line %d", 0, 50)},
		"long":        {numbered("line %d", 0, 51), numbered("line %d", 1, 51)},
		"short trace": {numbered("line %d", 0, 20) + "panic: x\n" + numbered("\tat %d", 0, 20), numbered("line %d", 0, 20) + "panic: x\n" + numbered("\tat %d", 0, 20)},
		"trace of 51": {"panic: x\n" + numbered("\tat %d", 0, 50), "panic: x\n" + numbered("\tat %d", 0, 50)},
		"trace of 75": {"panic: x\n" + numbered("\tat %d", 0, 74), "panic: x\n" + numbered("\tat %d", 0, 74)},
		"trace of 101": {"panic: x\n" + numbered("\tat %d", 0, 100),
			"panic: x\n" + numbered("\tat %d", 0, 49) + "[… 31 lines …]\n" + numbered("\tat %d", 80, 100)},
		"others write too": {"panic: x\n" + numbered(`{"msg":"%d"}`, 0, 60) + "\ngoroutine 1 [running]:\n" + numbered("\tat %d", 0, 100),
			"panic: x\n" + numbered(`{"msg":"%d"}`, 0, 49) + "[… 93 lines …]\n" + numbered("\tat %d", 80, 100)},
		"a trace of long ago": {"Traceback (most recent call last):\n" + numbered("  at %d", 0, 60) + "ValueError: x\n" + numbered("line %d", 0, 60), numbered("line %d", 10, 60)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := strings.Join(feed(c.text), "\n")
			require.Equal(t, strings.TrimSuffix(c.want, "\n"), text)
		})
	}
}

func TestALongLineIsCutInReports(t *testing.T) {
	t.Parallel()
	o := New(hclog.NewNullLogger(), &Flood{})
	o.Read(strings.NewReader(strings.Repeat("ü", 10_000)), Stderr, nil)
	o.Close()
	require.Len(t, o.Last(), 1)
	require.LessOrEqual(t, len(o.Last()[0]), reportLine+len("…"))
}

// TestTextFormat: values that are no text look the same in the host's text log.
func TestTextFormat(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	o := New(hclog.New(&hclog.LoggerOptions{Output: &log, DisableTime: true}), &Flood{})
	o.Read(strings.NewReader(`{"level":"info","msg":"a","n":7.50,"ok":true,"list":[1,"b"],"none":null,"text":"two words"}`+"\n"), Stderr, nil)
	o.Close()
	require.Equal(t, `[INFO]  a: n=7.50 ok=true list="[1,\"b\"]" none=null text="two words"`, strings.TrimSpace(log.String()))
}

// FuzzClassify looks for lines that harm the host.
func FuzzClassify(f *testing.F) {
	for _, text := range []string{
		`{"@message":1}`, `{"msg":"a","x":`, `{`, `level=info msg="a`, `level=info msg=a "k"=`, "2026-01-02T15:04:05Z\tINFO\t{", "[", "panic: ", "[]",
		`2026-01-02 15:04:05,000 - a - WARNING`, "\x1b[31mERROR\x1b[0m x", `{"level":{},"msg":"a"}`, `"k"`, `=`, `msg==`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for line := range strings.Lines(written(&Flood{}, text+"\n"+text)) {
			require.True(t, json.Valid([]byte(line)), line)
		}
	})
}
