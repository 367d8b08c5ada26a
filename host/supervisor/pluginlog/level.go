package pluginlog

import (
	"regexp"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// wordLevel reads a level's name, in any of the usual spellings.
func wordLevel(word string) (hclog.Level, bool) {
	switch strings.ToUpper(word) {
	case "TRACE", "TRC", "TRAC", "FINEST", "FINER":
		return hclog.Trace, true
	case "DEBUG", "DBG", "DEBG", "DEBU", "FINE":
		return hclog.Debug, true
	case "INFO", "INF", "NOTICE", "INFORMATION":
		return hclog.Info, true
	case "WARN", "WARNING", "WRN":
		return hclog.Warn, true
	case "ERROR", "ERR", "ERRO", "EROR", "SEVERE", "FATAL", "FTL", "FATA", "CRITICAL", "CRIT", "PANIC", "PANI", "DPANIC", "ALERT", "EMERG", "EMERGENCY":
		return hclog.Error, true
	}
	return hclog.Info, false
}

// valueLevel reads the value of a level member. slog writes levels between the
// known ones as DEBUG+2, pino and bunyan write numbers.
func valueLevel(value any) hclog.Level {
	switch v := value.(type) {
	case string:
		name, _, _ := strings.Cut(v, "+")
		if at := strings.IndexByte(name, '-'); at > 0 {
			name = name[:at]
		}
		level, _ := wordLevel(name)
		return level
	case jsonValue:
		switch v {
		case "10":
			return hclog.Trace
		case "20":
			return hclog.Debug
		case "40":
			return hclog.Warn
		case "50", "60":
			return hclog.Error
		}
	}
	return hclog.Info
}

var (
	colour    = regexp.MustCompile(`\x1b\[[0-9;]*m`)
	timestamp = regexp.MustCompile(`^[\[(]?(\d{4}[-/]\d\d[-/]\d\d([T ]\d\d:\d\d:\d\d([.,]\d+)?)?|\d\d:\d\d:\d\d([.,]\d+)?)( ?(Z|UTC|[+-]\d\d:?\d\d))?[\])]?[\s:,|-]*`)
	klogLine  = regexp.MustCompile(`^([IWEF])\d{4} \d\d:\d\d:\d\d`)
)

// How far into a line with a time a level is looked for: a few words, such as a
// logger's or a thread's name.
const (
	levelWithin = 200
	levelWords  = 4
)

// textLevel reads the level with which a line of text begins. Behind a time
// there may be words before it; without one it comes first.
func textLevel(text string) (hclog.Level, bool) {
	head := text[:min(len(text), levelWithin)]
	if strings.ContainsRune(head, '\x1b') {
		head = colour.ReplaceAllString(head, "")
	}
	words := 1
	switch {
	case head == "":
		return hclog.Info, false
	case strings.IndexByte("IWEF", head[0]) >= 0 && klogLine.MatchString(head):
		return map[byte]hclog.Level{'I': hclog.Info, 'W': hclog.Warn, 'E': hclog.Error, 'F': hclog.Error}[head[0]], true
	case strings.IndexByte("[(0123456789", head[0]) >= 0:
		if at := timestamp.FindStringIndex(head); at != nil {
			head, words = head[at[1]:], levelWords
		}
	}
	for _, word := range strings.Fields(head) {
		if word == "-" || word == "|" {
			continue
		}
		if level, ok := leadingLevel(word); ok {
			return level, true
		}
		if words--; words == 0 {
			break
		}
	}
	return hclog.Info, false
}

// leadingLevel reads a word such as WARN, [warn], warning: or WARNING:root:x.
// A word in lower case with nothing around it is just a word.
func leadingLevel(word string) (hclog.Level, bool) {
	marked := false
	if rest := strings.TrimLeft(word, "[(<|"); rest != word {
		end := strings.IndexAny(rest, "])>|")
		if end < 0 {
			return hclog.Info, false
		}
		word, marked = rest[:end], true
	} else if name, _, colon := strings.Cut(word, ":"); colon {
		word, marked = name, true
	}
	if !marked && word != strings.ToUpper(word) {
		return hclog.Info, false
	}
	return wordLevel(word)
}
