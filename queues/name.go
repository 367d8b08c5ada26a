package queues

import (
	"errors"
	"strings"
)

// maxName is pgmq's limit: longer names overflow those of a queue's tables and
// indexes.
const maxName = 47

// ErrName says which names can be created. Others are used as found.
var ErrName = errors.New("a queue's name is 1 to 47 lower-case letters, digits and underscores")

// CheckName returns ErrName for a name that is not to be created.
func CheckName(name string) error {
	other := func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') && (r < '0' || r > '9') }
	if name == "" || len(name) > maxName || strings.ContainsFunc(name, other) {
		return ErrName
	}
	return nil
}
