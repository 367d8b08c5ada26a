package queues

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of the error history that travels with a message.
const (
	maxErrors       = 5
	maxErrorMessage = 2 << 10
	maxErrorStack   = 4 << 10
)

// AddError returns the record with the entry appended to a copy of its
// history. The history keeps the last five entries, each bounded in size and
// made of text that PostgreSQL accepts.
func (r Record) AddError(entry ErrorEntry) Record {
	entry.Type = Text(entry.Type, maxErrorMessage)
	entry.Message = Text(entry.Message, maxErrorMessage)
	entry.Stack = Text(entry.Stack, maxErrorStack)
	keep := r.Errors
	if len(keep) >= maxErrors {
		keep = keep[len(keep)-maxErrors+1:]
	}
	r.Errors = append(append(make([]ErrorEntry, 0, len(keep)+1), keep...), entry)
	return r
}

// Text makes s safe to store as PostgreSQL text or jsonb: valid UTF-8, no NUL,
// at most limit bytes.
func Text(s string, limit int) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "\uFFFD")
	}
	if len(s) <= limit {
		return s
	}
	cut := limit
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// IdempotencyKey names the message for as long as its effects matter: it is
// the same for every delivery, after dead-lettering and after a replay. The
// time is part of it because ids repeat when a queue is dropped and created. The
// queue's name is in lower case, as pgmq has it: two hosts may spell it
// differently.
func (o Origin) IdempotencyKey() string {
	var room [104]byte // pgmq's names have at most 47
	buf := append(room[:0], strings.ToLower(o.Queue)...)
	buf = append(buf, '/')
	buf = strconv.AppendInt(buf, o.ID, 10)
	buf = append(buf, '/')
	buf = strconv.AppendInt(buf, o.EnqueuedAt.UnixMicro(), 10)
	return string(buf)
}
