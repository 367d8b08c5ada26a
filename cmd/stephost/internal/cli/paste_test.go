package cli

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPasswordsAreNotPrintedToBePasted(t *testing.T) {
	t.Parallel()
	for dsn, want := range map[string]string{
		"postgres://host:s3cret@db:5432/app?sslmode=require": "postgres://host:PASSWORD@db:5432/app?sslmode=require",
		"postgres://host@db/app":                             "postgres://host@db/app",
		"postgres:///app?host=/run/postgresql&user=host":     "postgres:///app?host=/run/postgresql&user=host",
		"postgres://db/app?user=host&password=s3cret":        "DSN",
		"host=db Password=s3cret":                            "DSN",
		"host=db dbname=app":                                 "host=db dbname=app",
		"postgres://host:s3cret%@db/app?password=x":          "DSN",
	} {
		require.Equal(t, want, withoutPassword(dsn))
	}
	require.NotContains(t, withoutPassword("postgres://host:s3cret%@db/app"), "s3cret", "one that cannot be parsed")
}
