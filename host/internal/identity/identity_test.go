package identity_test

import (
	"errors"
	"os"
	"os/user"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/host/internal/identity"
)

func TestOwnIdentityNeedsNoRoot(t *testing.T) {
	t.Parallel()
	me, err := user.Current()
	if err != nil {
		t.Skip(err)
	}
	for _, name := range []string{me.Username, me.Uid} {
		id, err := identity.Resolve(name, me.Gid)
		require.NoError(t, err)
		require.Equal(t, identity.Identity{UID: os.Geteuid(), GID: os.Getegid(), Home: me.HomeDir}, id)
	}
	id, err := identity.Resolve("", me.Gid)
	require.NoError(t, err)
	require.Equal(t, identity.Identity{UID: os.Geteuid(), GID: os.Getegid()}, id)
}

func TestResolve(t *testing.T) {
	t.Parallel()
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skip(err)
	}
	for name, c := range map[string]struct {
		user, group string
		want        string // uid, gid and home, or the error
		root        bool   // only root may
	}{
		"a name":              {"nobody", "", nobody.Uid + " " + nobody.Gid + " " + nobody.HomeDir, true},
		"its number":          {nobody.Uid, "", nobody.Uid + " " + nobody.Gid + " " + nobody.HomeDir, true},
		"another group":       {"nobody", "61358", nobody.Uid + " 61358 " + nobody.HomeDir, true},
		"numbers nobody has":  {"61357", "61358", "61357 61358 ", true},
		"a number alone":      {"61357", "", "there is no user with the id 61357 on this machine, so that its group must be named too", false},
		"an unknown user":     {"no-such-user", "", `there is no user "no-such-user" on this machine`, false},
		"an unknown group":    {"", "no-such-group", `there is no group "no-such-group" on this machine`, false},
		"a number below zero": {"-1", "1", `there is no user "-1" on this machine`, false},
		"a number too large":  {"4294967295", "1", `there is no user "4294967295" on this machine`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id, err := identity.Resolve(c.user, c.group)
			switch {
			case errors.Is(err, identity.ErrNotRoot):
				require.True(t, c.root)
				require.NotZero(t, os.Geteuid())
			case err != nil:
				require.EqualError(t, err, c.want)
			default:
				require.Equal(t, c.want, strconv.Itoa(id.UID)+" "+strconv.Itoa(id.GID)+" "+id.Home)
			}
		})
	}
}
