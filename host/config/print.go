package config

import (
	"io"

	"github.com/hashicorp/hcl/v2"

	"github.com/stephost/stephost/internal/hclfile"
)

// Print writes the diagnostics for people, in the order of the file: severity
// and summary, file:line,column, the source line with a marker, the detail.
// Text that was written for a secret key is masked in the source line.
func Print(w io.Writer, diags hcl.Diagnostics, files map[string]*hcl.File) error {
	return hclfile.Print(w, diags, files, "token", "dsn", "listen_dsn", "env")
}
