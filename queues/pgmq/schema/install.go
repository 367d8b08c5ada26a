package schema

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Version is the version of the schema that Install makes.
const Version = 2

// scripts has a directory for each version, with what brings a database there
// from the version before.
//
//go:embed sql
var scripts embed.FS

// minServer is PostgreSQL 14, as server_version_num counts.
const minServer = 140000

// installLock is the key of the advisory lock that serialises installations:
// "stephost" as eight bytes.
const installLock = 0x73746570686f7374

// Result says what Install did.
type Result struct {
	// From and To are the versions before and after; From is 0 where there was
	// no schema. They are the same when there was nothing to do.
	From, To int
}

// Changed tells whether anything was installed.
func (r Result) Changed() bool { return r.From != r.To }

// Install makes schema pgmq, or upgrades one that an older stephost made, in
// one transaction. Any number of sessions may do so at once. Where nothing is
// to be done it needs no privileges. The connection must not be in a
// transaction.
//
// The error is a *ForeignSchemaError when there is a schema pgmq that is not
// ours, a *PrivilegeError, a *ServerTooOldError or a *NewerSchemaError when
// that is the reason.
func Install(ctx context.Context, conn *pgx.Conn) (Result, error) {
	if err := checkServer(ctx, conn); err != nil {
		return Result{}, err
	}
	var result Result
	// READ COMMITTED whatever the role's default is: what a concurrent
	// installation committed must be visible once the lock is ours.
	err := pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(installLock)); err != nil {
			return fmt.Errorf("wait for other installations: %w", err)
		}
		info, err := Inspect(ctx, tx)
		if err != nil {
			return err
		}
		result, err = plan(info)
		if err != nil || !result.Changed() {
			return err
		}
		return explain(conn, info, apply(ctx, tx, result))
	})
	if err != nil {
		return Result{}, fmt.Errorf("install the queues: %w", err)
	}
	return result, nil
}

func checkServer(ctx context.Context, q Querier) error {
	var number int
	var text string
	err := q.QueryRow(ctx, "SELECT current_setting('server_version_num')::int, current_setting('server_version')").Scan(&number, &text)
	if err != nil {
		return fmt.Errorf("ask the server for its version: %w", err)
	}
	return checkVersion(number, text)
}

func checkVersion(number int, text string) error {
	if number < minServer {
		return &ServerTooOldError{Version: text}
	}
	return nil
}

// plan decides what to do about what is there.
func plan(info Info) (Result, error) {
	if info.Kind == Extension || info.Kind == Foreign {
		return Result{}, &ForeignSchemaError{Info: info}
	}
	from, err := info.number()
	if err != nil {
		return Result{}, fmt.Errorf("read the version of schema pgmq: %w", err)
	}
	if from > Version {
		return Result{}, &NewerSchemaError{Installed: from, Known: Version}
	}
	return Result{From: from, To: Version}, nil
}

// apply runs the scripts of the versions after result.From and sets the marker.
func apply(ctx context.Context, tx pgx.Tx, result Result) error {
	// Names in the scripts are qualified; what else they need must not come
	// from a schema that the session prefers.
	if _, err := tx.Exec(ctx, "SET LOCAL search_path = pg_catalog"); err != nil {
		return err
	}
	if result.From == 0 {
		if _, err := tx.Exec(ctx, "CREATE SCHEMA pgmq"); err != nil {
			return fmt.Errorf("create the schema: %w", err)
		}
	}
	for version := result.From + 1; version <= result.To; version++ {
		dir := path.Join("sql", fmt.Sprintf("v%d", version))
		files, err := fs.ReadDir(scripts, dir)
		if err != nil {
			return err
		}
		for _, file := range files {
			text, err := fs.ReadFile(scripts, path.Join(dir, file.Name()))
			if err != nil {
				return err
			}
			// The simple protocol takes several statements at once.
			if _, err := tx.Conn().PgConn().Exec(ctx, string(text)).ReadAll(); err != nil {
				return fmt.Errorf("%s: %w%s", file.Name(), err, position(string(text), err))
			}
		}
	}
	marker := fmt.Sprintf(markerFormat, result.To)
	_, err := tx.Exec(ctx, "COMMENT ON SCHEMA pgmq IS '"+marker+"'")
	return err
}

// position names the line of a script that the server complained about.
func position(text string, err error) string {
	var failed *pgconn.PgError
	if !errors.As(err, &failed) || failed.Position < 1 || int(failed.Position) > len(text) {
		return ""
	}
	return fmt.Sprintf(" (line %d)", 1+strings.Count(text[:failed.Position-1], "\n"))
}

// explain turns a lack of privileges into the GRANT that helps.
func explain(conn *pgx.Conn, info Info, err error) error {
	const insufficientPrivilege = "42501"
	var failed *pgconn.PgError
	if !errors.As(err, &failed) || failed.Code != insufficientPrivilege {
		return err
	}
	config := conn.Config()
	return &PrivilegeError{
		Role:     pgx.Identifier{config.User}.Sanitize(),
		Database: pgx.Identifier{config.Database}.Sanitize(),
		Upgrade:  info.Kind == Ours,
		Err:      err,
	}
}
