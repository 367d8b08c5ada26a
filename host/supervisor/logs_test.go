package supervisor_test

import (
	"bytes"
	"encoding/json"
	"fmt"

	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/supervisor"
)

// logged is a line of the host's log, as JSON.
type logged map[string]any

// says is a line with a level, a message and more fields.
func says(level, message string, fields ...any) logged {
	l := logged{"@level": level, "@message": message}
	for n := 0; n < len(fields); n += 2 {
		l[fields[n].(string)] = fields[n+1]
	}
	return l
}

// lines waits until the log has the text, and returns all lines that the
// plugin's process wrote since the mark, without the fields that all have.
func (b *bench) lines(t *testing.T, mark int, until string) []logged {
	t.Helper()
	b.log.await(t, until)
	var all []logged
	for line := range strings.Lines(b.log.String()[mark:]) {
		var l logged
		require.NoError(t, json.Unmarshal([]byte(line), &l), line)
		if l["@message"] == "plugin changed its state" {
			continue // the host's own
		}
		require.Equal(t, "orders", l["plugin"], line)
		require.EqualValues(t, 0, l["instance"], line)
		require.EqualValues(t, b.Status().Instances[0].PID, l["pid"], line)
		for _, name := range []string{"plugin", "instance", "pid", "@timestamp"} {
			delete(l, name)
		}
		all = append(all, l)
	}
	return all
}

// TestLogLines has what log libraries write, and what harms hosts or gets lost
// in go-plugin. Each is written by a plugin's process on its stderr.
func TestLogLines(t *testing.T) {
	t.Parallel()
	b := startReady(t, spec(t, ""))
	for n, c := range []struct {
		name, input string
		want        []logged
	}{
		{"hclog JSON", `{"@caller":"x.go:1","@level":"warn","@message":"low stock","@module":"inv","@timestamp":"2026-01-02T15:04:05.000000Z","sku":7,"tags":["a",{"b":null}]}`,
			[]logged{says("warn", "low stock", "caller", "x.go:1", "module", "inv", "sku", 7.0, "tags", []any{"a", map[string]any{"b": nil}})}},
		{"hclog text", "2026-01-02T15:04:05.000Z [WARN]  inv: low stock: sku=7",
			[]logged{says("warn", "2026-01-02T15:04:05.000Z [WARN]  inv: low stock: sku=7")}},
		{"slog JSON", `{"time":"2026-01-02T15:04:05.0Z","level":"ERROR","msg":"low stock","order":{"id":7}}` + "\n" + `{"time":"2026-01-02T15:04:05.0Z","level":"DEBUG+2","msg":"detail"}`,
			[]logged{says("error", "low stock", "order", map[string]any{"id": 7.0}), says("debug", "detail")}},
		{"slog text", `time=2026-01-02T15:04:05.000Z level=WARN msg="low \"stock\"" order.id=7 "odd key"="a b"`,
			[]logged{says("warn", `low "stock"`, "order.id", "7", "odd key", "a b")}},
		{"zap JSON", `{"level":"dpanic","ts":1795441130.8,"logger":"inv","caller":"x/main.go:5","msg":"low stock","sku":7,"stacktrace":"main.main\n\t/main.go:5"}`,
			[]logged{says("error", "low stock", "logger", "inv", "caller", "x/main.go:5", "sku", 7.0, "stacktrace", "main.main\n\t/main.go:5")}},
		{"zap console", "2026-11-23T13:38:50.813Z\tWARN\tinv\tx/main.go:6\tlow stock\t{\"sku\": 7}\nmain.main\n\t/x/main.go:6\n2026-11-23T13:38:50.813Z\tINFO\tx/main.go:7\tplain",
			[]logged{says("warn", "low stock", "module", "inv", "caller", "x/main.go:6", "sku", 7.0), says("warn", "main.main"), says("warn", "\t/x/main.go:6"), says("info", "plain", "caller", "x/main.go:7")}},
		{"logrus JSON", `{"level":"warning","msg":"low stock","sku":7,"time":"2026-11-23T13:38:50Z"}`,
			[]logged{says("warn", "low stock", "sku", 7.0)}},
		{"logrus text", `time="2026-11-23T13:38:50Z" level=fatal msg="low stock" sku=7`,
			[]logged{says("error", "low stock", "sku", "7")}},
		{"pino", `{"level":40,"time":1795441130813,"pid":17,"hostname":"h","msg":"low stock"}`,
			[]logged{says("warn", "low stock", "plugin_pid", 17.0, "hostname", "h")}},
		{"Python's default", "WARNING:root:low stock\nCRITICAL:root:no stock",
			[]logged{says("warn", "WARNING:root:low stock"), says("error", "CRITICAL:root:no stock")}},
		{"Python with a time", "2026-11-23 13:38:51,040 WARNING root: low stock\n2026-11-23 13:38:51,040 - inv.stock - DEBUG - detail",
			[]logged{says("warn", "2026-11-23 13:38:51,040 WARNING root: low stock"), says("debug", "2026-11-23 13:38:51,040 - inv.stock - DEBUG - detail")}},
		{"Java", "13:38:51.040 [main] WARN  c.e.Stock - low stock",
			[]logged{says("warn", "13:38:51.040 [main] WARN  c.e.Stock - low stock")}},
		{"klog", "E0102 15:04:05.000000       1 stock.go:7] low stock",
			[]logged{says("error", "E0102 15:04:05.000000       1 stock.go:7] low stock")}},
		{"package log", "2026/01/02 15:04:05 [WARN] low stock\n2026/01/02 15:04:05 ERROR: no stock\n2026/01/02 15:04:05 stock",
			[]logged{says("warn", "2026/01/02 15:04:05 [WARN] low stock"), says("error", "2026/01/02 15:04:05 ERROR: no stock"), says("info", "2026/01/02 15:04:05 stock")}},
		{"plain", "just text\n[debug] detail\nerror: no stock\nno ERROR here\nkey=value pairs",
			[]logged{says("info", "just text"), says("debug", "[debug] detail"), says("error", "error: no stock"), says("info", "no ERROR here"), says("info", "key=value pairs")}},
		{"clashes", `{"msg":"mine","plugin":"x","instance":9,"pid":1,"stream":"y","@level":"info","level":"z","@timestamp":"a","time":"b","@message":"theirs"}`,
			[]logged{says("info", "theirs", "plugin_plugin", "x", "plugin_instance", 9.0, "plugin_pid", 1.0, "plugin_stream", "y", "level", "z", "time", "b", "msg", "mine")}},
		{"clashes in text", `level=warn msg=mine pid=1 plugin=x`,
			[]logged{says("warn", "mine", "plugin_pid", "1", "plugin_plugin", "x")}},
		{"not a string", `{"@message":1,"n":"bad"}`, []logged{says("info", `{"@message":1,"n":"bad"}`)}},
		{"no log line", `{"id":7}`, []logged{says("info", `{"id":7}`)}},
		{"two objects", `{"msg":"a"} {"msg":"b"}`, []logged{says("info", `{"msg":"a"} {"msg":"b"}`)}},
		{"forged", `{"msg":"a\n2026-01-02T15:04:05.000Z [INFO] forged\u001b[2J"}`, []logged{says("info", `a\n2026-01-02T15:04:05.000Z [INFO] forged\x1b[2J`)}},
		{"huge", "huge " + strings.Repeat("y", 1<<20), []logged{says("info", "huge "+strings.Repeat("y", 16<<10-5)+"…")}},
		{"huge JSON", `{"level":"error","msg":"huge","body":"` + strings.Repeat("y", 1<<20) + `"}`, []logged{says("error", "huge")}},
		{"huge message", `{"level":"error","msg":"` + strings.Repeat("y", 1<<20) + `"}`, []logged{says("error", `{"level":"error","msg":"`+strings.Repeat("y", 16<<10-24)+"…")}},
		{"empty lines", "\n \n", nil},
		{"Go's panic", "panic: boom [recovered]\n\tpanic: second\nline\n[signal SIGSEGV: segmentation violation]\n\ngoroutine 1 [running]:\nmain.(*T).Do(0xc000, {0x1, 0x2})\n\t/x/main.go:5 +0x1d\ncreated by main.main in goroutine 1\nall is well",
			[]logged{says("error", "panic: boom [recovered]"), says("error", "\tpanic: second"), says("error", "line"), says("error", "[signal SIGSEGV: segmentation violation]"),
				says("error", "goroutine 1 [running]:"), says("error", "main.(*T).Do(0xc000, {0x1, 0x2})"), says("error", "\t/x/main.go:5 +0x1d"),
				says("error", "created by main.main in goroutine 1"), says("info", "all is well")}},
		{"Python's traceback", "Traceback (most recent call last):\n  File \"x.py\", line 5, in <module>\n    1/0\nZeroDivisionError: division by zero\nall is well",
			[]logged{says("error", "Traceback (most recent call last):"), says("error", `  File "x.py", line 5, in <module>`), says("error", "    1/0"), says("error", "ZeroDivisionError: division by zero"), says("info", "all is well")}},
		{"Java's trace", "Exception in thread \"main\" java.lang.IllegalStateException: bad\n\tat c.e.Stock.main(Stock.java:7)\nCaused by: java.lang.RuntimeException: worse\n\t... 1 more\nall is well",
			[]logged{says("error", `Exception in thread "main" java.lang.IllegalStateException: bad`), says("error", "\tat c.e.Stock.main(Stock.java:7)"), says("error", "Caused by: java.lang.RuntimeException: worse"), says("error", "\t... 1 more"), says("info", "all is well")}},
		{"Node's trace", "TypeError: x is not a function\n    at Object.<anonymous> (/x.js:1:1)\nall is well",
			[]logged{says("error", "TypeError: x is not a function"), says("error", "    at Object.<anonymous> (/x.js:1:1)"), says("info", "all is well")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			mark, end := len(b.log.String()), fmt.Sprintf("end of case %d", n)
			require.NotNil(t, b.run(t, "stderr", c.input+"\n"+end+"\n").result)
			require.Equal(t, append(c.want, says("info", end)), b.lines(t, mark, end))
			b.echoes(t)
		})
	}
	require.Zero(t, b.Status().DroppedLogLines)
}

func TestStdoutIsLogged(t *testing.T) {
	t.Parallel()
	b := startReady(t, spec(t, ""))
	mark := len(b.log.String())
	require.NotNil(t, b.run(t, "stdout", "raw "+strings.Repeat("z", 1<<20)+"\n").result)
	require.NotNil(t, b.run(t, "print", `{"level":"warn","msg":"through go-plugin","stream":"mine"}`).result)
	require.Equal(t, []logged{
		says("info", "raw "+strings.Repeat("z", 16<<10-4)+"…", "stream", "stdout"),
		says("warn", "through go-plugin", "stream", "stdout", "plugin_stream", "mine"),
	}, b.lines(t, mark, "through go-plugin"))
}

func TestLogLevelIsFollowed(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"", "keeps-level"} {
		t.Run("mode "+mode, func(t *testing.T) {
			t.Parallel()
			log := &logBuffer{}
			d := deps(t, log)
			d.LogLevel = supervisor.NewLogLevel("warn")
			b := startWith(t, quickRestart(t, mode), d, log)
			b.awaitReady(t)
			require.Equal(t, "warn", b.run(t, "level", "").output())
			d.LogLevel.Set("debug")
			if mode == "" {
				b.log.await(t, "log level is now debug")
			} else {
				b.log.await(t, "plugin keeps its log level until it is started again")
			}
			b.run(t, "sigkill", "")
			b.awaitStatus(t, func(s supervisor.Status) bool { return s.State == supervisor.StateReady && s.Crashes == 1 })
			require.Equal(t, "debug", b.run(t, "level", "").output(), "those that start later are told at once")
		})
	}
}

// TestForeignRuntimesTraces lets the runtimes themselves write, where they are
// installed.
func TestForeignRuntimesTraces(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		command []string
		want    []string
	}{
		"python3": {[]string{"python3", "-c", "import logging\nlogging.warning('low stock')\ndef f(): raise ValueError('bad')\nf()"},
			[]string{"WARNING:root:low stock", "Traceback (most recent call last):", "ValueError: bad"}},
		"node": {[]string{"node", "-e", "function f() { throw new TypeError('bad') }; f()"},
			[]string{"TypeError: bad", "    at f ("}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, err := exec.LookPath(c.command[0])
			if err != nil {
				t.Skip(err)
			}
			out, err := exec.Command(path, c.command[1:]...).CombinedOutput()
			require.Error(t, err, "it dies of the exception")
			b := startReady(t, spec(t, ""))
			mark := len(b.log.String())
			require.NotNil(t, b.run(t, "stderr", string(out)+"end\n").result)
			lines := b.lines(t, mark, `"@message":"end"`)
			for _, want := range c.want {
				level := "error"
				if strings.HasPrefix(want, "WARNING") {
					level = "warn"
				}
				found := false
				for _, l := range lines {
					if strings.HasPrefix(l["@message"].(string), want) {
						found = true
						require.Equal(t, level, l["@level"], want)
					}
				}
				require.True(t, found, "%s in %s", want, out)
			}
		})
	}
}

// TestFloodIsLimitedAndErrorsComeFirst has a plugin that writes without end,
// and a panic in the middle of it.
func TestFloodIsLimitedAndErrorsComeFirst(t *testing.T) {
	t.Parallel()
	began := time.Now()
	b := startReady(t, spec(t, "flood"))
	require.Eventually(t, func() bool { return b.Status().DroppedLogLines > 5_000 }, patience, 5*time.Millisecond)
	require.NotNil(t, b.run(t, "stderr", "ERROR: it burns\n").result)
	b.log.await(t, "ERROR: it burns")
	b.echoes(t)

	require.ErrorContains(t, b.run(t, "panic", "").lost, "panic: boom in a handler")
	b.log.await(t, `"@message":"panic: boom in a handler"`)
	b.log.await(t, `"@message":"plugin failed"`)
	stop(t, b.Plugin)

	dropped, warnings, ordinary := 0, 0, 0
	for line := range strings.Lines(b.log.String()) {
		var l logged
		require.NoError(t, json.Unmarshal([]byte(line), &l))
		if n, ok := l["dropped"].(float64); ok {
			require.Equal(t, "warn", l["@level"])
			dropped += int(n)
			warnings++
		}
		if strings.HasPrefix(l["@message"].(string), "xxxx") {
			ordinary++
		}
	}
	require.Positive(t, warnings)
	require.EqualValues(t, b.Status().DroppedLogLines, dropped, "every dropped line is in a warning")
	// The package pluginlog names these limits.
	require.LessOrEqual(t, ordinary, 2000+int(1000*time.Since(began).Seconds()), "more of the flood was let through than the limits allow")
}

// TestReportHasThePanicsHead has a dump of so many goroutines that the one
// which panicked is far from the end.
func TestReportHasThePanicsHead(t *testing.T) {
	t.Parallel()
	b := startReady(t, spec(t, "panic-all"))
	require.ErrorContains(t, b.run(t, "panic", "").lost, "panic: boom in a handler")
	var report logged
	require.NoError(t, json.Unmarshal([]byte(b.log.await(t, `"@message":"plugin failed"`)), &report))
	text := report["error"].(string)
	require.Contains(t, text, "panic: boom in a handler")
	require.Contains(t, text, "testplugin_test.go", "the place of the panic")
	require.Regexp(t, `\[… \d{3,} lines …\]`, text)
	require.Less(t, strings.Count(text, "\n"), 80)
	require.Contains(t, b.log.await(t, "supervisor_test.(*testPlugin).act.gowrap"), `"@level":"error"`)
}

// TestReportWithoutATrace has no trace; the last lines are all there is.
func TestReportWithoutATrace(t *testing.T) {
	t.Parallel()
	b := startReady(t, spec(t, ""))
	var input bytes.Buffer
	for n := range 70 {
		fmt.Fprintf(&input, "line %d\n", n)
	}
	require.NotNil(t, b.run(t, "stderr", input.String()).result)
	b.log.await(t, "line 69")
	require.Error(t, b.run(t, "sigkill", "").lost)
	var report logged
	require.NoError(t, json.Unmarshal([]byte(b.log.await(t, `"@message":"plugin failed"`)), &report))
	text := report["error"].(string)
	require.Contains(t, text, "line 20\n    line 21\n")
	require.True(t, strings.HasSuffix(text, "line 69"), text)
	require.NotContains(t, text, "line 19\n")
}
