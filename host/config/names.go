package config

import (
	"errors"
	"regexp"
	"strings"
)

// namespaceVariable is what queue_name and dead_letter may contain.
const namespaceVariable = "{namespace}"

// maxQueueName is pgmq's limit: longer names overflow the names of a queue's
// tables and indexes.
const maxQueueName = 47

var (
	nameShape   = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	sha256Shape = regexp.MustCompile(`^[0-9A-Fa-f]{64}$`)
)

var errQueueName = errors.New("a queue's name has 1 to 47 letters, digits, underscores and hyphens")

func queueName(s string) error {
	if len(s) > maxQueueName || !nameShape.MatchString(s) {
		return errQueueName
	}
	return nil
}

func queueTemplate(s string) error {
	if !strings.Contains(s, namespaceVariable) {
		return errors.New("the template must contain {namespace}, else all namespaces would share one queue; to name one namespace's queue, set queue in its block")
	}
	return deadLetterName(s)
}

// deadLetterName allows the variable. What it expands to is checked once the
// namespace is known.
func deadLetterName(s string) error {
	if !nameShape.MatchString(expand(s, "x")) {
		return errQueueName
	}
	return nil
}

func expand(template, namespace string) string {
	return strings.ReplaceAll(template, namespaceVariable, namespace)
}

func sha256Hex(s string) error {
	if !sha256Shape.MatchString(s) {
		return errors.New("use the SHA-256 of the binary as 64 hexadecimal digits; `sha256sum` prints it")
	}
	return nil
}
