// Package pluginlog turns what a plugin process writes on stdout and stderr
// into lines of the host's log, with the level and the fields that they carry.
//
//	reader ─▶ classify ─▶ rate limit ─▶ queue ─▶ logger
//	              └─▶ excerpt for crash reports
//
// # What is understood
//
// JSON as hclog, slog, zap, logrus, pino and Python's formatters write it;
// logfmt as slog's text handler and logrus write it; zap's console form. These
// give level, message and fields. Of any other line the level is read where it
// begins with one, as package log, Python's logging, Java's and klog write it,
// and the text stays as it is. The lines of a Go panic and of a Python, Java or
// Node.js stack trace are errors.
//
// # Invariants
//
//   - Reading never waits for the log. What does not fit is dropped and counted,
//     ordinary lines before errors.
//   - A plugin is limited to 1,000 lines a second, with bursts of 2,000; a line
//     counts once more for each KiB beyond the first. Errors have as much again
//     for themselves, with bursts of 5,000, so that a flood of other lines does
//     not hide why a plugin died. All processes of a plugin share this.
//   - One warning a second says how many lines were dropped.
//   - A plugin cannot take the host's own fields: its field pid becomes
//     plugin_pid, and it cannot forge a line: control characters in messages
//     are escaped.
package pluginlog
