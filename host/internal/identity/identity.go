// Package identity turns the users and groups that a configuration names into
// ids.
package identity

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
)

// Identity is whom a process runs as.
type Identity struct {
	UID, GID int
	// Home is the user's home directory; empty where the system knows none.
	Home string
}

// ErrNotRoot says that this process may not run others as somebody else.
var ErrNotRoot = errors.New("only a host that runs as root can run a plugin as another user or group")

// GroupError is a group that cannot be found or is needed.
type GroupError struct{ Text string }

func (e *GroupError) Error() string { return e.Text }

// Resolve finds a user and a group by name or number. An empty user is this
// process's own, an empty group the user's primary one. A number that the
// system does not know is taken as it is, but needs a group then. The error is
// [ErrNotRoot] where the result is not this process's identity and this process
// could not assume it.
func Resolve(userName, groupName string) (Identity, error) {
	id := Identity{UID: os.Geteuid(), GID: os.Getegid()}
	if userName != "" {
		if err := id.findUser(userName, groupName != ""); err != nil {
			return Identity{}, err
		}
	}
	if groupName != "" {
		var err error
		if id.GID, err = findGroup(groupName); err != nil {
			return Identity{}, err
		}
	}
	if os.Geteuid() != 0 && (id.UID != os.Geteuid() || id.GID != os.Getegid()) {
		return Identity{}, ErrNotRoot
	}
	return id, nil
}

func (id *Identity) findUser(name string, hasGroup bool) error {
	found, err := user.Lookup(name)
	if err != nil {
		if _, number := strconv.ParseUint(name, 10, 31); number == nil {
			found, err = user.LookupId(name)
		}
	}
	if err == nil {
		id.Home = found.HomeDir
		return errors.Join(parseID(found.Uid, &id.UID), parseID(found.Gid, &id.GID))
	}
	if parseID(name, &id.UID) != nil {
		return fmt.Errorf("there is no user %q on this machine", name)
	}
	if !hasGroup {
		return fmt.Errorf("there is no user with the id %s on this machine, so that its group must be named too", name)
	}
	return nil
}

func findGroup(name string) (int, error) {
	var gid int
	if found, err := user.LookupGroup(name); err == nil {
		err := parseID(found.Gid, &gid)
		return gid, err
	}
	if parseID(name, &gid) != nil {
		return 0, &GroupError{fmt.Sprintf("there is no group %q on this machine", name)}
	}
	return gid, nil
}

func parseID(text string, id *int) error {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return fmt.Errorf("the id %q is not a number", text)
	}
	*id = int(n)
	return nil
}
