package config

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/stephost/stephost/internal/hclfile"
)

// Option changes how a file is read.
type Option func(*options)

type options struct {
	lookupEnv  func(string) (string, bool)
	hostID     func() (string, error)
	fileChecks bool
	packages   bool
}

// WithEnv replaces os.LookupEnv behind the function env.
func WithEnv(lookup func(name string) (string, bool)) Option {
	return func(o *options) { o.lookupEnv = lookup }
}

// WithHostID replaces the source of host.id's default: the machine's name and
// a random suffix.
func WithHostID(source func() (string, error)) Option {
	return func(o *options) { o.hostID = source }
}

// WithFileChecks says whether plugin binaries must exist and be executable.
// The default is true.
func WithFileChecks(on bool) Option {
	return func(o *options) { o.fileChecks = on }
}

// WithPackages lets a plugin's command be the directory of a Go package that
// the caller builds; see Plugin.Package.
func WithPackages() Option {
	return func(o *options) { o.packages = true }
}

// Load reads the file at path. The configuration is complete only when the
// diagnostics have no errors; it is never nil, and its Files are for Print.
// The diagnostics are in the order of the file.
func Load(path string, opts ...Option) (*Config, hcl.Diagnostics) {
	src, err := os.ReadFile(path)
	if err != nil {
		detail := fmt.Sprintf("Reading %s failed: %v.", path, err)
		if errors.Is(err, fs.ErrNotExist) {
			detail = fmt.Sprintf("There is no file %s. Name another one with --config.", path)
		}
		return &Config{}, hcl.Diagnostics{{Severity: hcl.DiagError, Summary: "Configuration file cannot be read", Detail: detail}}
	}
	return Parse(path, src, opts...)
}

// Parse is Load for a source in memory. Relative paths in it are relative to
// filename's directory.
func Parse(filename string, src []byte, opts ...Option) (*Config, hcl.Diagnostics) {
	o := options{lookupEnv: os.LookupEnv, hostID: machineID, fileChecks: true}
	for _, opt := range opts {
		opt(&o)
	}
	file, syntax := hclsyntax.ParseConfig(src, filename, hcl.InitialPos)
	cfg := defaults()
	cfg.Files = map[string]*hcl.File{filename: file}
	d := &decoder{ctx: hclfile.EvalContext(o.lookupEnv), ranges: map[any]hcl.Range{}, env: map[any]bool{}, labels: map[[2]string]hcl.Range{}}
	r := &reading{decoder: d, cfg: &cfg, opts: o}

	d.section(file.Body, r.root())
	if syntax.HasErrors() {
		// What the parser skipped looks absent, so only complaints about what is
		// there can be trusted.
		d.diags = presentOnly(d.diags)
	} else {
		r.check()
	}
	cfg.written = make(map[string]writtenKey)
	r.remember("host", hostSection(&cfg.Host))
	r.remember("queue", queueSection(&cfg.Queue))
	r.remember("event_system", eventSystemSection(&cfg.EventSystem))
	for _, p := range r.plugins {
		r.remember(pluginPath(p.Name), pluginSection(p))
		p.EvalContext = d.ctx
		cfg.Plugins = append(cfg.Plugins, *p)
	}
	for _, n := range r.namespaces {
		r.remember(namespacePath(n.Name), namespaceSection(n))
		cfg.Namespaces = append(cfg.Namespaces, *n)
	}
	return &cfg, hclfile.Tidy(append(syntax, d.diags...))
}

// reading is one file being turned into a Config.
type reading struct {
	*decoder
	cfg        *Config
	opts       options
	queueKind  hcl.Range
	plugins    []*Plugin
	namespaces []*Namespace
}

func (r *reading) root() *section {
	return &section{blocks: []block{
		{name: "host", single: hostSection(&r.cfg.Host)},
		{name: "queue", once: true, labelled: func(b *hcl.Block) *section {
			r.cfg.Queue.Kind, r.queueKind = b.Labels[0], b.LabelRanges[0]
			return queueSection(&r.cfg.Queue)
		}},
		{name: "event_system", single: eventSystemSection(&r.cfg.EventSystem)},
		{name: "plugin", labelled: func(b *hcl.Block) *section {
			p := defaultPlugin(b.Labels[0])
			p.DeclRange, p.CommandRange = b.DefRange, b.DefRange
			r.plugins = append(r.plugins, p)
			return pluginSection(p)
		}},
		{name: "namespace", labelled: func(b *hcl.Block) *section {
			n := defaultNamespace(b.Labels[0])
			n.DeclRange = b.DefRange
			r.namespaces = append(r.namespaces, n)
			return namespaceSection(n)
		}},
	}}
}

// machineID is the machine's name and a suffix that tells two hosts on it
// apart.
func machineID() (string, error) {
	name, err := os.Hostname()
	if err != nil {
		return "", err
	}
	suffix := make([]byte, 3)
	_, _ = rand.Read(suffix)
	return name + "-" + hex.EncodeToString(suffix), nil
}

// absolute resolves a path of the file against the file's directory.
func absolute(filename, path string) (string, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(filename), path)
	}
	return filepath.Abs(path)
}

func presentOnly(diags hcl.Diagnostics) hcl.Diagnostics {
	var kept hcl.Diagnostics
	for _, diag := range diags {
		if !strings.HasPrefix(diag.Summary, "Missing ") {
			kept = append(kept, diag)
		}
	}
	return kept
}
