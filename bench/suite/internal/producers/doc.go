// Package producers measures what it costs to send: the command line's and the
// SDK's ways beside a multi-row INSERT of the same rows, and what the trigger
// that announces messages costs producers.
package producers
