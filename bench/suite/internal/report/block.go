package report

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// figuresBlock is the block of all figures.
const figuresBlock = "figures"

// ReplaceBlocks puts the figures between the markers of a page and leaves the rest
// of it. Scenarios with a block of their own are replaced there, where the page has
// it. charts is the way from the page to the results' directory, with a slash at its
// end. A page that does not exist is left alone.
func (r *Record) ReplaceBlocks(page, charts string) error {
	data, err := os.ReadFile(page)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	text, found := replaceBlock(string(data), figuresBlock, r.figures(charts))
	if !found {
		return fmt.Errorf("%s: it has no block of figures: put %q and %q where they belong", page, begin(figuresBlock), end(figuresBlock))
	}
	for _, e := range r.Entries {
		if e.Result.Block != "" {
			text, _ = replaceBlock(text, e.Result.Block, r.details(e, charts))
		}
	}
	return os.WriteFile(page, []byte(text), 0o644)
}

// The markers of a block in a page that people write.
func begin(name string) string { return "<!-- begin: " + name + " -->" }
func end(name string) string   { return "<!-- end: " + name + " -->" }

func replaceBlock(text, name, block string) (replaced string, found bool) {
	before, rest, found := strings.Cut(text, begin(name))
	_, after, foundEnd := strings.Cut(rest, end(name))
	if !found || !foundEnd {
		return text, false
	}
	return before + begin(name) + "\n\n" + strings.TrimSpace(block) + "\n\n" + end(name) + after, true
}
