// Package fuzzcorpus reads the committed corpora of fuzz targets, for tests
// that put the same inputs before something that is too slow to fuzz, such as a
// database.
package fuzzcorpus

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Inputs returns what testdata/fuzz of the caller's package has for a target
// whose only argument is text or bytes. A target without a corpus fails the
// test: it would show nothing.
func Inputs(t testing.TB, target string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "fuzz", target, "*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatalf("no corpus of %s", target)
	}
	inputs := make([]string, 0, len(files))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		input, err := parse(string(text))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		inputs = append(inputs, input)
	}
	return inputs
}

// parse reads Go's format: a line that names it, and a line with the value.
func parse(text string) (string, error) {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) != 2 || lines[0] != "go test fuzz v1" {
		return "", fmt.Errorf("no input with one argument")
	}
	value := strings.TrimSuffix(lines[1], ")")
	for _, kind := range []string{"[]byte(", "string("} {
		if quoted, ok := strings.CutPrefix(value, kind); ok {
			return strconv.Unquote(quoted)
		}
	}
	return "", fmt.Errorf("%s is neither text nor bytes", lines[1])
}
