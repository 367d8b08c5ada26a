package cli

import (
	"net/url"
	"strings"

	"github.com/spf13/pflag"
)

// typedFlags are the flags that were given, as they would be typed again, each
// with a blank in front: a command that goes on with this one needs them too.
// Those that say yes or no are left out, and the one named but.
func typedFlags(flags *pflag.FlagSet, but string) string {
	var b strings.Builder
	flags.Visit(func(flag *pflag.Flag) {
		if flag.Name == but || flag.Value.Type() == "bool" {
			return
		}
		value := flag.Value.String()
		switch list, isList := flag.Value.(pflag.SliceValue); {
		case isList:
			value = strings.Join(list.GetSlice(), ",")
		case flag.Name == "dsn":
			value = withoutPassword(value)
		}
		b.WriteString(typedFlag(flag.Name, value))
	})
	return b.String()
}

func typedFlag(name, value string) string { return " --" + name + " " + shellQuote(value) }

// withoutPassword is the DSN with a placeholder for what nobody may read over a
// shoulder or in a ticket.
func withoutPassword(dsn string) string {
	if u, err := url.Parse(dsn); err == nil && u.Scheme != "" && !u.Query().Has("password") {
		if _, has := u.User.Password(); has {
			u.User = url.UserPassword(u.User.Username(), "PASSWORD")
		}
		return u.String()
	}
	if strings.Contains(strings.ToLower(dsn), "password") || strings.Contains(dsn, "://") {
		return "DSN"
	}
	return dsn
}

// withFlags adds flags to a command line, in front of the comment behind it.
func withFlags(line, flags string) string {
	line, comment, commented := strings.Cut(line, " # ")
	line += flags
	if commented {
		line += " # " + comment
	}
	return line
}
