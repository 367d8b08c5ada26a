package devpg

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// copyPrimary fills base from a running cluster and leaves the data as that of a
// standby.
func copyPrimary(ctx context.Context, bin binaries, as account, base string, primary *Cluster) error {
	files := layout{base: base}
	if err := os.WriteFile(files.password(), []byte(primary.password), 0o600); err != nil {
		return err
	}
	if err := as.own(files.password()); err != nil {
		return err
	}
	// The directory may have links to some of the programs only.
	server, err := filepath.EvalSymlinks(bin.path("postgres"))
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(filepath.Dir(server), "pg_basebackup"), "-D", files.data(), "-h", primary.files.sockets, "-p", strconv.Itoa(primary.port),
		"-U", superuser, "--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf", "--no-sync")
	cmd.Dir = base
	cmd.Env = environment()
	cmd.SysProcAttr = as.process()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pg_basebackup: %w: %s", err, lastLines(string(out), 5))
	}
	return nil
}
