package fault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/stephost/stephost/chaos/internal/ledger"
	"github.com/stephost/stephost/chaos/internal/world"
	"github.com/stephost/stephost/internal/wait"
)

// disks are the faults of a full disk under the database.
func disks() []Fault {
	heap, wal := &disk{megabytes: 64}, &disk{megabytes: 160}
	return []Fault{{
		Name:   "disk-full-tables",
		About:  "the file system of the queue's tables is full: statements fail with 53100, until there is space again",
		Shape:  func(o *world.Options) { o.Via = heap.tables },
		Inject: heap.fillTables,
		Cost:   Cost{Again: May},
	}, {
		Name:  "disk-full-wal",
		About: "the file system of the write-ahead log is full: PostgreSQL panics, and starts again when there is space",
		Shape: func(o *world.Options) {
			o.Server = map[string]string{"max_wal_size": "64MB", "min_wal_size": "32MB"}
			o.Via = wal.log
		},
		Inject: wal.fillLog,
		Cost:   Cost{Again: May},
	}}
}

// disk is a small file system of its own.
type disk struct {
	megabytes int
	dir       string
}

// mount makes it in the cluster's directory, for the server's user.
func (d *disk) mount(w *world.World, name string) error {
	d.dir = filepath.Join(w.Postgres.Dir(), name)
	if err := os.Mkdir(d.dir, 0o700); err != nil {
		return err
	}
	out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm,mode=700", d.megabytes), "tmpfs", d.dir).CombinedOutput()
	if err != nil {
		return &UnavailableError{Reason: "a small file system cannot be mounted: " + strings.TrimSpace(string(out))}
	}
	w.AtStop(func() {
		w.Postgres.Crash() // it has files there
		_ = exec.Command("umount", d.dir).Run()
	})
	return d.own(w, d.dir)
}

// own gives a file to the user who has the cluster's directory.
func (d *disk) own(w *world.World, path string) error {
	info, err := os.Stat(w.Postgres.Dir())
	if err != nil {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t)
	return os.Chown(path, int(owner.Uid), int(owner.Gid))
}

func (d *disk) ballast() string { return filepath.Join(d.dir, "ballast") }

// fill leaves no byte.
func (d *disk) fill() error {
	file, err := os.Create(d.ballast())
	if err != nil {
		return err
	}
	defer file.Close()
	for block := make([]byte, 1<<20); ; {
		if _, err := file.Write(block); err != nil {
			if !errors.Is(err, syscall.ENOSPC) {
				return err
			}
			if len(block) == 1 {
				return nil
			}
			block = block[:1]
		}
	}
}

func (d *disk) free() error { return os.Remove(d.ballast()) }

// tables puts the queue and its archive on the disk.
func (d *disk) tables(ctx context.Context, w *world.World, _ int) (world.Route, error) {
	err := d.mount(w, "small")
	if err != nil {
		return world.Route{}, err
	}
	space := filepath.Join(d.dir, "space")
	if err := errors.Join(os.Mkdir(space, 0o700), d.own(w, space)); err != nil {
		return world.Route{}, err
	}
	for _, sql := range []string{
		`CREATE TABLESPACE small LOCATION '` + space + `'`,
		`ALTER TABLE pgmq.q_` + ledger.Queue + ` SET TABLESPACE small`,
		`ALTER TABLE pgmq.a_` + ledger.Queue + ` SET TABLESPACE small`,
	} {
		if err := do(ctx, w, "move the tables", sql); err != nil {
			return world.Route{}, err
		}
	}
	return world.Route{DSN: w.DSN()}, nil
}

func (d *disk) fillTables(ctx context.Context, w *world.World) (string, error) {
	if err := d.fill(); err != nil {
		return "", err
	}
	if err := wait.For(ctx, w.Beyond()); err != nil {
		return "", errors.Join(err, d.free())
	}
	refused := strings.Count(w.Postgres.LogTail(1000), "No space left on device")
	if err := d.free(); err != nil {
		return "", err
	}
	w.Over()
	if refused == 0 {
		return "", errors.New("the server never ran out of space")
	}
	return fmt.Sprintf("full for %s, %d statements refused", w.Beyond(), refused), nil
}

// log puts the write-ahead log on the disk.
func (d *disk) log(ctx context.Context, w *world.World, _ int) (world.Route, error) {
	if err := d.mount(w, "wal"); err != nil {
		return world.Route{}, err
	}
	// A clean stop would do as well; the cluster knows only this one.
	w.Postgres.Crash()
	old := filepath.Join(w.Postgres.Dir(), "data", "pg_wal")
	moved := filepath.Join(d.dir, "pg_wal")
	if out, err := exec.Command("cp", "-a", old, moved).CombinedOutput(); err != nil {
		return world.Route{}, fmt.Errorf("move the write-ahead log: %w: %s", err, out)
	}
	if err := errors.Join(os.RemoveAll(old), os.Symlink(moved, old)); err != nil {
		return world.Route{}, err
	}
	if err := w.Postgres.Restart(ctx); err != nil {
		return world.Route{}, err
	}
	w.DB.Reset()
	return world.Route{DSN: w.DSN()}, nil
}

// fillLog writes to the log until the server is gone.
func (d *disk) fillLog(ctx context.Context, w *world.World) (string, error) {
	before, err := startedAt(ctx, w)
	if err != nil {
		return "", err
	}
	if err := d.fill(); err != nil {
		return "", err
	}
	err = w.Until(ctx, "the server panics", func() (bool, error) {
		// The segments that are there already take this first.
		_, _ = w.DB.Exec(ctx, `SELECT pg_logical_emit_message(true, 'chaos', repeat('x', 1 << 20))`)
		return strings.Contains(w.Postgres.LogTail(1000), "PANIC"), nil
	})
	if err == nil {
		err = wait.For(ctx, w.Hold/4)
	}
	if err := errors.Join(err, d.free()); err != nil {
		return "", err
	}
	// It has ended, or is at its own recovery, in which it hears of nothing else.
	w.Postgres.Crash()
	if err := w.Postgres.Restart(ctx); err != nil {
		return "", err
	}
	w.Over()
	return "the server panicked and was started again", restarted(ctx, w, before)
}
