package schema

import (
	"fmt"
)

// ForeignSchemaError says that there is a schema pgmq that is not ours. It
// was not touched.
type ForeignSchemaError struct {
	Info Info
}

func (e *ForeignSchemaError) Error() string {
	if e.Info.Kind == Extension {
		return fmt.Sprintf("schema pgmq belongs to the extension pgmq %s: it can be used as it is, there is nothing to install",
			e.Info.Version)
	}
	what := "which has no queues table"
	if e.Info.HasMeta {
		what = "which has a queues table; if it is a pgmq that was installed from SQL, it can be used as it is"
	}
	return "schema pgmq was not made by stephost (" + what +
		"): to install stephost's, move it away with ALTER SCHEMA pgmq RENAME TO ..., or choose another database"
}

// PrivilegeError says that the role must not install and which GRANT it needs.
type PrivilegeError struct {
	Role, Database string
	// Upgrade means that the schema is there and belongs to another role.
	Upgrade bool
	// Err is what the server said, if it was asked.
	Err error
}

func (e *PrivilegeError) Error() string {
	if e.Upgrade {
		return fmt.Sprintf("role %s may not upgrade schema pgmq: run the installation as the schema's owner", e.Role)
	}
	return fmt.Sprintf("role %s may not create schema pgmq: GRANT CREATE ON DATABASE %s TO %s", e.Role, e.Database, e.Role)
}

// Unwrap returns what the server said.
func (e *PrivilegeError) Unwrap() error { return e.Err }

// ServerTooOldError says that the server is older than PostgreSQL 14.
type ServerTooOldError struct {
	Version string
}

func (e *ServerTooOldError) Error() string {
	return "PostgreSQL " + e.Version + " is too old: stephost needs 14 or newer"
}

// NewerSchemaError says that a newer stephost made the schema.
type NewerSchemaError struct {
	Installed, Known int
}

func (e *NewerSchemaError) Error() string {
	return fmt.Sprintf("schema pgmq has version %d and this stephost knows only %d: use a newer stephost", e.Installed, e.Known)
}
