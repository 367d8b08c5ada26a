package sdk

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// Plugin is a set of step handlers with what surrounds them. It is made by
// [New] and does not change afterwards.
type Plugin struct {
	name           string
	version        string
	handlers       map[string]*handler
	byDefault      string
	middleware     []func(Next) Next
	closers        []func() error
	maxConcurrency int
}

// Option adds something to a [Plugin].
type Option func(*Plugin)

// New puts a plugin together. It panics on what can only be a mistake in the
// program: no handler at all, a nil handler, a step name that is empty or not
// UTF-8, two handlers for one step, or two default handlers.
func New(opts ...Option) *Plugin {
	p := &Plugin{
		name:     executableName(),
		version:  buildVersion(),
		handlers: map[string]*handler{},
	}
	for _, opt := range opts {
		opt(p)
	}
	if len(p.handlers) == 0 {
		panic("sdk: a plugin needs at least one handler: pass sdk.Handle or sdk.HandleRaw")
	}
	p.byDefault = p.resolveDefault()
	for _, h := range p.handlers {
		h.wrap(p.middleware)
	}
	return p
}

// Name sets the name under which the plugin presents itself to people. The
// default is the name of the executable.
func Name(name string) Option {
	return func(p *Plugin) { p.name = name }
}

// Version sets the plugin's version. The default is the version of the main
// module that the Go toolchain recorded in the executable.
func Version(version string) Option {
	return func(p *Plugin) { p.version = version }
}

// MaxConcurrency bounds how many steps run at once in one process of the
// plugin, over all its namespaces. The host honours it when it hands out work;
// the SDK holds back what arrives beyond it. The default, 0, leaves it to the
// host's configuration. It panics when n is negative.
func MaxConcurrency(n int) Option {
	if n < 0 {
		panic(fmt.Sprintf("sdk: MaxConcurrency(%d): must not be negative", n))
	}
	return func(p *Plugin) { p.maxConcurrency = n }
}

// OnClose registers a function that runs after the last step, when the host
// stops the plugin. Several run in reverse order of registration. The host
// gives them about two seconds in all before it ends the process. A process
// that crashes or is killed runs none of them.
func OnClose(fn func() error) Option {
	return func(p *Plugin) { p.closers = append(p.closers, fn) }
}

// add registers a handler.
func (p *Plugin) add(h *handler) {
	if h.step == "" {
		panic("sdk: a handler needs the name of its step")
	}
	if !utf8.ValidString(h.step) {
		panic(fmt.Sprintf("sdk: step name %q is not UTF-8", h.step))
	}
	if _, exists := p.handlers[h.step]; exists {
		panic(fmt.Sprintf("sdk: step %q has two handlers", h.step))
	}
	p.handlers[h.step] = h
}

// resolveDefault returns the step that takes messages that name none: the one
// marked with [Default], else the only one.
func (p *Plugin) resolveDefault() string {
	var marked []string
	for step, h := range p.handlers {
		if h.byDefault || len(p.handlers) == 1 {
			marked = append(marked, step)
		}
	}
	slices.Sort(marked)
	switch len(marked) {
	case 0:
		return ""
	case 1:
		return marked[0]
	default:
		panic(fmt.Sprintf("sdk: more than one default handler: %s", strings.Join(marked, ", ")))
	}
}

// handlerFor returns the handler of a step; an empty name stands for the
// default. It is nil where there is none.
func (p *Plugin) handlerFor(step string) *handler {
	if step == "" {
		step = p.byDefault
	}
	return p.handlers[step]
}

// describe answers the host's question what this plugin is.
func (p *Plugin) describe() *pluginv1.DescribeResponse {
	resp := &pluginv1.DescribeResponse{
		Name:           cleanText(p.name, maxNameBytes),
		Version:        cleanText(p.version, maxNameBytes),
		MaxConcurrency: uint32(p.maxConcurrency),
		Capabilities:   capabilities(),
	}
	for step := range p.handlers {
		resp.Steps = append(resp.Steps, &pluginv1.StepDescription{Name: step, Default: step == p.byDefault})
	}
	sort.Slice(resp.Steps, func(i, j int) bool { return resp.Steps[i].GetName() < resp.Steps[j].GetName() })
	return resp
}

// capabilities are the optional parts of the protocol that the SDK implements
// for every plugin.
func capabilities() []pluginv1.Capability {
	return []pluginv1.Capability{
		pluginv1.Capability_CAPABILITY_CANCEL,
		pluginv1.Capability_CAPABILITY_HEARTBEAT,
		pluginv1.Capability_CAPABILITY_EMIT,
	}
}

func executableName() string {
	base := filepath.Base(os.Args[0])
	return strings.TrimSuffix(base, filepath.Ext(base))
}

func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
