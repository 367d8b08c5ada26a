package doctor

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/internal/checkup"
	"github.com/stephost/stephost/internal/devpg"
	"github.com/stephost/stephost/internal/devpg/devpgtest"
)

// behindPooler is a patient that is asked through a PgBouncer.
func behindPooler(t *testing.T, settings map[string]string) (*patient, *devpg.Cluster) {
	t.Helper()
	cluster := devpgtest.Cluster(t, nil)
	pooler, err := cluster.StartPooler(t.Context(), devpg.PoolerOptions{Settings: settings})
	if errors.Is(err, devpg.ErrNoPooler) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pooler.Stop()) })
	conn, err := pgx.Connect(t.Context(), cluster.DSN("postgres"))
	require.NoError(t, err)
	require.NoError(t, fill(t.Context(), conn))
	require.NoError(t, conn.Close(t.Context()))
	p := admit(t, cluster.DSN("postgres"))
	p.DSN = pooler.DSN("postgres")
	return p, cluster
}

func TestThroughATransactionPooler(t *testing.T) {
	t.Parallel()
	p, cluster := behindPooler(t, nil)
	for _, f := range p.examine() {
		switch f.Check {
		case "listen":
			require.Equal(t, checkup.Warning, f.Severity, "steps run all the same, later")
			require.Contains(t, f.Seen, "a pooler that swallows it")
			p.ListenDSN = pasted(t, f, "listen_dsn", cluster)
		case "notifications":
			require.Equal(t, checkup.Skipped, f.Severity, "what does not arrive does not speak against a trigger: %s", text(f))
		case "durability":
		default:
			require.Equal(t, checkup.OK, f.Severity, text(f))
		}
	}
	require.Contains(t, p.one("pooler").Seen, "in transaction mode")
	require.Equal(t, checkup.OK, p.one("listen").Severity)
	require.Equal(t, checkup.OK, p.one("notifications").Severity)

	whole := p.DSN
	p.DSN += "&default_query_exec_mode=cache_statement"
	f := p.one("pooler")
	require.Equal(t, checkup.Error, f.Severity, text(f))
	require.Contains(t, f.Seen, "loses the prepared statements")
	fixed, err := url.Parse(pasted(t, f, "dsn", cluster))
	require.NoError(t, err)
	old, err := url.Parse(whole)
	require.NoError(t, err)
	require.Equal(t, old.Host+old.Path, fixed.Host+fixed.Path)
	p.DSN = fixed.String()
	require.Equal(t, checkup.OK, p.one("pooler").Severity)
}

// pasted is the value of a key in the lines that a finding gives, with the
// password filled in.
func pasted(t *testing.T, f checkup.Finding, key string, cluster *devpg.Cluster) string {
	t.Helper()
	require.Equal(t, checkup.Edit, f.Fixes[0].Kind, text(f))
	found := regexp.MustCompile(`(?m)^\s+` + key + `\s+= "(.*)"$`).FindStringSubmatch(f.Fixes[0].Text)
	require.NotNil(t, found, f.Fixes[0].Text)
	u, err := url.Parse(cluster.TCPDSN("postgres"))
	require.NoError(t, err)
	password, _ := u.User.Password()
	return strings.Replace(found[1], "PASSWORD", password, 1)
}

func TestThroughASessionPooler(t *testing.T) {
	t.Parallel()
	p, _ := behindPooler(t, map[string]string{"pool_mode": "session"})
	require.Contains(t, p.one("pooler").Seen, "session mode")
	require.Equal(t, checkup.OK, p.one("listen").Severity)
	require.Equal(t, checkup.OK, p.one("notifications").Severity)
}

func TestListeningToAnotherDatabase(t *testing.T) {
	t.Parallel()
	p := healthy(t)
	p.ListenDSN = devpgtest.New(t)
	f := p.one("listen")
	require.Equal(t, checkup.Error, f.Severity)
	require.Contains(t, f.Seen, "listen_dsn leads to another database")
	p.ListenDSN = "postgres://nobody:secret@127.0.0.1:1/nowhere"
	f = p.one("listen")
	require.Equal(t, checkup.Error, f.Severity)
	require.Contains(t, f.Seen, "127.0.0.1:1")
	require.NotContains(t, text(f), "secret")
	p.Listens = false
	require.Equal(t, checkup.OK, p.one("listen").Severity)
	p.Listens, p.ListenDSN = true, ""
	require.Equal(t, checkup.OK, p.one("listen").Severity)
}
