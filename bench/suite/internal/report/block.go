package report

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// The markers of the block in a page that people write.
const (
	begin = "<!-- begin: figures -->"
	end   = "<!-- end: figures -->"
)

// ReplaceBlock puts the figures between the markers of a page and leaves the rest
// of it. charts is the way from the page to the results' directory, with a slash at
// its end. A page that does not exist is left alone.
func (r *Record) ReplaceBlock(page, charts string) error {
	text, err := os.ReadFile(page)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	replaced, err := replaceBlock(string(text), r.figures(charts))
	if err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	return os.WriteFile(page, []byte(replaced), 0o644)
}

func replaceBlock(text, block string) (string, error) {
	before, rest, found := strings.Cut(text, begin)
	_, after, foundEnd := strings.Cut(rest, end)
	if !found || !foundEnd {
		return "", fmt.Errorf("it has no block of figures: put %q and %q where they belong", begin, end)
	}
	return before + begin + "\n\n" + strings.TrimSpace(block) + "\n\n" + end + after, nil
}
