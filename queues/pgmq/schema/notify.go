package schema

import (
	"path"
	"strings"
)

// NotifyFunction is the statement that restores the function behind the
// triggers that announce messages.
func NotifyFunction() string {
	text, err := scripts.ReadFile(path.Join("sql", "v2", "02_notify.sql"))
	if err != nil {
		panic(err) // embedded
	}
	const start, end = "CREATE OR REPLACE FUNCTION pgmq.notify_queue_listeners()", "\n$$;"
	_, rest, _ := strings.Cut(string(text), start)
	body, _, _ := strings.Cut(rest, end)
	return start + body + strings.TrimSuffix(end, ";")
}
