package devpg

import (
	"io"
	"os"
	"strings"
)

// maxLogRead bounds how much of a server's log is read for a message.
const maxLogRead = 64 << 10

// logSince returns what was appended to a log after the offset, at most the
// last 64 KiB of it.
func logSince(path string, offset int64) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil {
		offset = max(offset, info.Size()-maxLogRead)
	}
	text, err := io.ReadAll(io.NewSectionReader(file, offset, maxLogRead))
	if err != nil {
		return ""
	}
	return string(text)
}

// lastLines returns the last n lines of the text.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
